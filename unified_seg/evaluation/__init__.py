"""Evaluators over the official metrics, exporters, and results as files and tables."""

from unified_seg.evaluation.build import build_evaluators, list_tasks
from unified_seg.evaluation.independent import EvaluationError, IndependentEvaluators
from unified_seg.evaluation.results import (
    add_to_results,
    describe_undefined,
    format_results,
    print_results,
    save_results,
)

__all__ = [
    "EvaluationError",
    "IndependentEvaluators",
    "add_to_results",
    "build_evaluators",
    "describe_undefined",
    "format_results",
    "list_tasks",
    "print_results",
    "save_results",
]
