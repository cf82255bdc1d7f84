"""Scores as text tables."""

import math
from collections.abc import Mapping, Sequence

from tabulate import tabulate


def class_names(scores: Mapping[str, float], metrics: Sequence[str]) -> list[str]:
    """The classes that have one of the metrics ("IoU-road" is the IoU of road), in their order."""
    names: dict[str, None] = {}
    for key in scores:
        metric, _, name = key.partition("-")
        if name and metric in metrics:
            names[name] = None
    return list(names)


def class_table_text(scores: Mapping[str, float], metrics: Sequence[str]) -> str:
    """A row per class, a column per metric, from keys such as "IoU-road"."""
    rows = [
        [name, *(cell(scores.get(f"{metric}-{name}")) for metric in metrics)] for name in class_names(scores, metrics)
    ]
    return table_text(["class", *metrics], rows)


def table_text(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    alignment = ["left"] + ["right"] * (len(headers) - 1)
    return tabulate(rows, headers=headers, tablefmt="simple", colalign=alignment, disable_numparse=True)


def cell(value: float | None) -> str:
    """A percentage; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"
