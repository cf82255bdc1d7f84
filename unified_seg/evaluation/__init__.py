"""Evaluators over the official metrics, exporters, and results as files and tables."""

from unified_seg.evaluation.build import build_evaluators
from unified_seg.evaluation.results import add_to_results, format_results, print_results, save_results

__all__ = ["add_to_results", "build_evaluators", "format_results", "print_results", "save_results"]
