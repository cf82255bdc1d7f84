"""Export of trained models as graphs, in folders that `unified_seg_runtime` predicts with; see docs/export.md."""

from unified_seg.export.errors import ExportError, UnsupportedExportError
from unified_seg.export.folder import export_model

__all__ = ["ExportError", "UnsupportedExportError", "export_model"]
