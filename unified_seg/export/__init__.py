"""Export of trained models as graphs, in folders that `unified_seg_runtime` predicts with; see docs/export.md."""

from unified_seg.export.errors import ExportError, UnsupportedExportError
from unified_seg.export.folder import export_model
from unified_seg.export.form import GraphForm

__all__ = ["ExportError", "GraphForm", "UnsupportedExportError", "export_model"]
