"""The report of a survey of data sets: one HTML page that needs no other file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from unified_seg.data.problems import KINDS
from unified_seg.data.validation.dataset_statistics import Statistics
from unified_seg.data.validation.survey import Survey
from unified_seg.html_reports.dataset.findings import compute_pixel_percent, describe_verdict, group_problems
from unified_seg.html_reports.dataset.pictures import draw_pictures
from unified_seg.html_reports.dataset.plots import draw_statistics
from unified_seg.html_reports.dataset.samples import select_problem_samples, select_sound_samples
from unified_seg.html_reports.page import UNKNOWN, Picture, encode_svg, write_page

TEMPLATE = "dataset/page.html.j2"
#: Problems of a kind that the page lists.
MAX_LISTED = 200


def write_report(path: Path, surveys: Sequence[Survey]) -> None:
    """Write the page; a reader meanwhile finds the older one.

    Args:
        path: its folder is made if need be.
        surveys: of registered data sets.
    """
    by_kind, sound = select_problem_samples(surveys), [select_sound_samples(survey) for survey in surveys]
    total = sum(map(len, [*by_kind.values(), *sound]))
    with tqdm(total=total, desc="drawing", unit="img", disable=None) as progress:
        problem_pictures = {kind: draw_pictures(samples, progress) for kind, samples in by_kind.items()}
        sound_pictures = [draw_pictures(samples, progress) for samples in sound]
    has_errors, has_warnings = (any(getattr(s, f"num_{what}") for s in surveys) for what in ("errors", "warnings"))
    write_page(
        path,
        TEMPLATE,
        verdict=describe_verdict(surveys),
        severity="error" if has_errors else "warning" if has_warnings else "good",
        max_listed=MAX_LISTED,
        groups=[
            {
                "kind": kind,
                "title": KINDS[kind].title,
                "fix": KINDS[kind].fix,
                "severity": "error" if KINDS[kind].is_error else "warning",
                "problems": problems,
                "pictures": problem_pictures.get(kind, []),
            }
            for kind, problems in group_problems(surveys).items()
        ],
        datasets=[
            {
                "survey": survey,
                "rows": _list_class_rows(survey.statistics),
                "plots": [Picture(encode_svg(svg), title) for title, svg in draw_statistics(survey.statistics).items()],
                "pictures": pictures,
            }
            for survey, pictures in zip(surveys, sound_pictures)
        ],
    )


def _list_class_rows(statistics: Statistics) -> list[dict[str, Any]]:
    """Return a row for each class; the length of its bar is in percent of the longest."""
    percents = [compute_pixel_percent(cls, statistics) for cls in statistics.classes]
    longest = max((percent or 0.0 for percent in percents), default=0.0) or 1.0
    return [
        {
            "cls": cls,
            "percent": UNKNOWN if percent is None else f"{percent:.3f}",
            "bar": f"{100 * (percent or 0.0) / longest:.1f}",
        }
        for cls, percent in zip(statistics.classes, percents)
    ]
