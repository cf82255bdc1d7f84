"""The lines at the top of the page: what costs most, with links to the images."""

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

NUM_NAMED = 3


class Finding(NamedTuple):
    """A line.

    Attributes:
        title: what it is about.
        lines: (text, link to a part of the page or "").
    """

    title: str
    lines: list[tuple[str, str]]


def find_most_costly(part: Mapping[str, Any]) -> list[Finding]:
    """Return the worst images, the weakest classes, the costliest errors and the most frequent confusions.

    Args:
        part: what the template shows of a data set; of several models the last one counts.
    """
    found = [_list_worst(part), _list_weakest(part), _list_errors(part), _list_confusions(part)]
    return [finding for finding in found if finding.lines]


def _list_worst(part: Mapping[str, Any]) -> Finding:
    group = next((group for group in part["groups"] if group["name"] in ("worst", "loss")), None)
    if group is None:
        return Finding("", [])
    unit = "points of" if group["name"] == "loss" else "%"
    items = [
        (
            f"{PurePath(case['file']).stem} ({_format(case['score'], unit, part['main'])}{_describe_errors(case)})",
            f"#{case['anchor']}",
        )
        for case in group["cases"]
    ]
    return Finding(f"{group['title']} images" if group["name"] == "worst" else group["title"], items)


def _format(score: float, unit: str, main: str) -> str:
    return f"{score:+.1f} {unit} {main}" if unit == "points of" else f"{main} {score:.1f} {unit}"


def _describe_errors(case: Mapping[str, Any]) -> str:
    errors = case["case"].errors[-1]
    why = errors.summary or (errors.texts[0] if errors.texts else "")
    return f": {why}" if why else ""


def _list_weakest(part: Mapping[str, Any]) -> Finding:
    column = next((c for c in ("PQ", "IoU", "mask AP", "box AP") if c in part["columns"]), None)
    if column is None:
        return Finding("", [])
    scores = [(row["scores"][column][-1], row["name"]) for row in part["classes"]]
    lowest = sorted((score, name) for score, name in scores if not math.isnan(score))[:NUM_NAMED]
    link = f"#{part['anchor']}-classes"
    return Finding("Weakest classes", [(f"{name} ({column} {score:.1f} %)", link) for score, name in lowest])


def _list_errors(part: Mapping[str, Any]) -> Finding:
    rows: Sequence[Mapping[str, Any]] = part["segment_errors"] or part["detection_errors"]
    what = "PQ" if part["segment_errors"] else "AP50"
    lost = sorted(((row["lost"][-1], row["kind"]) for row in rows if row["numbers"]), reverse=True)
    link = f"#{part['anchor']}-errors"
    items = [(f"{kind} ({points:.1f} points of {what})", link) for points, kind in lost[:NUM_NAMED] if points > 0]
    return Finding("Costliest errors", items)


def _list_confusions(part: Mapping[str, Any]) -> Finding:
    rows = part["confusions"][-1]["rows"][:NUM_NAMED] if part["confusions"] else []
    link = f"#{part['anchor']}-confusions"
    items = [
        (f"{row['class']} taken for {row['taken_for']} ({row['of_wrong']:.0f} % of the wrong pixels)", link)
        for row in rows
    ]
    return Finding("Most frequent confusions", items)
