"""The error of a plan, of results or of a README that can't be used."""

from unified_seg.errors import UserError


class ReportingError(UserError, ValueError):
    """A plan, results or a README that can't be used; the message names the file and what is wrong in it."""
