"""Where the curves of a training go, beside metrics.json: SOLVER.WRITERS."""

from unified_seg.training.writers.build import build_writers, check_writers

__all__ = ["build_writers", "check_writers"]
