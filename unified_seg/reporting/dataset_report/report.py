"""What was found in data sets, as one page that needs no other file."""

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from detectron2.data import MetadataCatalog
from jinja2 import Environment
from PIL import Image
from tqdm import tqdm

from unified_seg.data.io.file_system import write_atomically
from unified_seg.data.problems import KINDS, Problem
from unified_seg.data.validation.dataset_statistics import ClassStatistics, Statistics
from unified_seg.data.validation.survey import Survey
from unified_seg.reporting.dataset_report.page import PAGE
from unified_seg.reporting.dataset_report.plots import statistics_plots
from unified_seg.reporting.dataset_report.samples import Sample, draw_sample, good_samples, problem_samples

# Problems of a kind that the page lists.
LISTED = 200
# Pictures are shrunk to this width in pixels.
PICTURE_WIDTH = 1000


class Picture(NamedTuple):
    """A picture of the page; its source is a data URI."""

    source: str
    caption: str


def write_report(path: Path, surveys: Sequence[Survey]) -> None:
    """Write the page, in one step.

    Args:
        path: its folder is made if need be.
        surveys: of registered data sets.
    """
    wrong, good = problem_samples(surveys), [good_samples(survey) for survey in surveys]
    with tqdm(total=sum(map(len, [*wrong.values(), *good])), desc="drawing", unit="img", disable=None) as bar:
        page = _page(
            surveys, {kind: _draw(samples, bar) for kind, samples in wrong.items()}, [_draw(g, bar) for g in good]
        )
    with write_atomically(path) as temporary:
        # Names of files may hold what is no character.
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def problems_by_kind(surveys: Sequence[Survey]) -> dict[str, list[Problem]]:
    """The problems of all data sets by kind, errors before warnings, else in the order of KINDS."""
    kinds = sorted(KINDS, key=lambda kind: not KINDS[kind].is_error)
    found = {kind: [p for survey in surveys for p in survey.problems if p.kind == kind] for kind in kinds}
    return {kind: problems for kind, problems in found.items() if problems}


def verdict_of(surveys: Sequence[Survey]) -> str:
    """In words, such as "2 errors and 1 warning in 200 images"."""
    errors = sum(survey.num_errors for survey in surveys)
    warnings = sum(survey.num_warnings for survey in surveys)
    found = [_count(number, what) for number, what in ((errors, "error"), (warnings, "warning")) if number]
    return f"{' and '.join(found) or 'no problem'} in {_count(sum(len(s.records) for s in surveys), 'image')}"


def percent_of_pixels(cls: ClassStatistics, statistics: Statistics) -> float | None:
    """The share of a class among the labeled pixels; None where it is not known."""
    total = sum(c.pixels or 0 for c in statistics.classes)
    return None if cls.pixels is None or not total else 100 * cls.pixels / total


def _page(surveys: Sequence[Survey], wrong: Mapping[str, list[Picture]], good: Sequence[list[Picture]]) -> str:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = lambda value: "–" if value is None else f"{value:,}"
    errors, warnings = (sum(getattr(s, f"num_{what}") for s in surveys) for what in ("errors", "warnings"))
    return environment.from_string(PAGE).render(
        surveys=surveys,
        verdict=verdict_of(surveys),
        severity="error" if errors else "warning" if warnings else "good",
        listed=LISTED,
        groups=[
            {
                "kind": kind,
                "title": KINDS[kind].title,
                "fix": KINDS[kind].fix,
                "severity": "error" if KINDS[kind].is_error else "warning",
                "problems": problems,
                "pictures": wrong.get(kind, []),
            }
            for kind, problems in problems_by_kind(surveys).items()
        ],
        contents=[
            {
                "rows": _rows(survey.statistics),
                "plots": [
                    Picture(_data_uri("svg+xml", svg.encode()), title)
                    for title, svg in statistics_plots(survey.statistics).items()
                ],
                "pictures": pictures,
            }
            for survey, pictures in zip(surveys, good)
        ],
    )


def _rows(statistics: Statistics) -> list[dict[str, Any]]:
    """A row for each class; its bar is in percent of the longest."""
    shares = [percent_of_pixels(cls, statistics) for cls in statistics.classes]
    longest = max((share or 0.0 for share in shares), default=0.0) or 1.0
    return [
        {
            "cls": cls,
            "percent": "–" if share is None else f"{share:.3f}",
            "bar": f"{100 * (share or 0.0) / longest:.1f}",
        }
        for cls, share in zip(statistics.classes, shares)
    ]


def _draw(samples: Sequence[Sample], bar: tqdm) -> list[Picture]:
    """Those that can be drawn: what is wrong with a data set may keep its records from it."""
    pictures = []
    for sample in samples:
        with suppress(ValueError):  # a DataError too
            drawn = draw_sample(sample, MetadataCatalog.get(sample.dataset))
            pictures.append(Picture(_data_uri("jpeg", _jpeg(drawn)), sample.caption))
        bar.update()
    return pictures


def _jpeg(picture: np.ndarray) -> bytes:
    image = Image.fromarray(picture)
    if image.width > PICTURE_WIDTH:
        image = image.resize(
            (PICTURE_WIDTH, round(image.height * PICTURE_WIDTH / image.width)), Image.Resampling.LANCZOS
        )
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
