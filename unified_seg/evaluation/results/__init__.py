"""The results of evaluations: as a file, on screen, and what they depend on."""

from unified_seg.evaluation.results.environment import get_versions, name_machine
from unified_seg.evaluation.results.file import Results, add_to_results, save_results
from unified_seg.evaluation.results.screen import describe_undefined, format_results, print_results

__all__ = [
    "Results",
    "add_to_results",
    "describe_undefined",
    "format_results",
    "get_versions",
    "name_machine",
    "print_results",
    "save_results",
]
