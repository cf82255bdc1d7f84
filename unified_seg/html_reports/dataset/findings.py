"""The findings of a survey in words and numbers, for the page and for the terminal."""

from collections.abc import Sequence

from unified_seg.data.problems import KINDS, Problem
from unified_seg.data.validation.dataset_statistics import ClassStatistics, Statistics
from unified_seg.data.validation.survey import Survey


def group_problems(surveys: Sequence[Survey]) -> dict[str, list[Problem]]:
    """Return the problems of all data sets by kind: errors before warnings, then in the order of `KINDS`."""
    kinds = sorted(KINDS, key=lambda kind: not KINDS[kind].is_error)
    found = {kind: [p for survey in surveys for p in survey.problems if p.kind == kind] for kind in kinds}
    return {kind: problems for kind, problems in found.items() if problems}


def describe_verdict(surveys: Sequence[Survey]) -> str:
    """Return the verdict in one line, such as "2 errors and 1 warning in 200 images"."""
    errors = sum(survey.num_errors for survey in surveys)
    warnings = sum(survey.num_warnings for survey in surveys)
    found = [_format_count(number, noun) for number, noun in ((errors, "error"), (warnings, "warning")) if number]
    return f"{' and '.join(found) or 'no problem'} in {_format_count(sum(len(s.records) for s in surveys), 'image')}"


def compute_pixel_percent(cls: ClassStatistics, statistics: Statistics) -> float | None:
    """Return the percentage of the labeled pixels that belong to a class; None if its pixels were not counted."""
    total = sum(c.pixels or 0 for c in statistics.classes)
    return None if cls.pixels is None or not total else 100 * cls.pixels / total


def _format_count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
