"""Scores as text tables, from mappings metric -> percent."""

import math
from collections.abc import Mapping, Sequence

from tabulate import tabulate


def list_classes(scores: Mapping[str, float], metrics: Sequence[str]) -> list[str]:
    """Return the classes that have one of the metrics ("IoU-road" is the IoU of road), in their order."""
    names: dict[str, None] = {}
    for key in scores:
        metric, _, name = key.partition("-")
        if name and metric in metrics:
            names[name] = None
    return list(names)


def format_class_table(scores: Mapping[str, float], metrics: Sequence[str]) -> str:
    """Return a table with a row per class and a column per metric, from keys such as "IoU-road"."""
    rows = [
        [name, *(format_cell(scores.get(f"{metric}-{name}")) for metric in metrics)]
        for name in list_classes(scores, metrics)
    ]
    return format_table(["class", *metrics], rows)


def format_recognition_table(scores: Mapping[str, float]) -> str:
    """Return the scores of the task "recognition", a row per group of objects: all, wide, categories, classes.

    Groups without an object are left out, except that of all objects.
    """
    metrics = [metric for metric in ("found", "pixels", "pixels_fused", "boxes") if metric in scores]
    groups = [
        key.removeprefix("found")
        for key, share in scores.items()
        if key == "found" or (key.startswith("found") and not math.isnan(share))
    ]
    titles = {"": "all objects", "_wide": "wide objects"}
    rows = [
        [titles.get(group, group.partition("-")[2]), *(format_cell(scores[metric + group]) for metric in metrics)]
        for group in groups
    ]
    table = format_table(["objects", *(metric.replace("_", " ") for metric in metrics)], rows)
    return f"class right: % of the pixels of found objects\n{table}"


def format_error_table(scores: Mapping[str, float]) -> str:
    """Return the scores of the tasks "errors_bbox" and "errors_segm", see `diagnose`, in a row."""
    titles = {
        "Cls": "class",
        "Loc": "place",
        "Both": "class and place",
        "Dupe": "duplicate",
        "Bkg": "background",
        "Miss": "missed",
        "ECE": "calibration",
    }
    table = format_table(list(titles.values()), [[format_cell(scores[key]) for key in titles]])
    return f"points of AP50 that each kind of error costs (TIDE), and calibration error of the scores (ECE)\n{table}"


def format_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a text table, the first column aligned left, the others right."""
    alignment = ["left"] + ["right"] * (len(headers) - 1)
    return tabulate(rows, headers=headers, tablefmt="simple", colalign=alignment, disable_numparse=True)


def format_cell(value: float | None) -> str:
    """Return a percentage with two digits; a dash for None and NaN."""
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"
