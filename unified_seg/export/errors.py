"""Errors of an export that a user can fix."""

from unified_seg.errors import UserError


class ExportError(UserError, RuntimeError):
    """An export that fails, or whose graph predicts something else than the model."""


class UnsupportedExportError(ExportError, ValueError):
    """A model, a format or a size that can't be exported."""
