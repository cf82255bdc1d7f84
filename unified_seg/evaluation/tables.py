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


def recognition_table_text(scores: Mapping[str, float]) -> str:
    """A row per group of objects (all, wide ones, categories, classes) from the scores of "recognition".

    Groups without an object have no row.
    """
    metrics = [metric for metric in ("found", "pixels", "pixels_fused", "boxes") if metric in scores]
    groups = [
        key.removeprefix("found") for key, share in scores.items() if key.startswith("found") and not math.isnan(share)
    ]
    titles = {"": "all objects", "_wide": "wide objects"}
    rows = [
        [titles.get(group, group.partition("-")[2]), *(cell(scores[metric + group]) for metric in metrics)]
        for group in groups
    ]
    return table_text(["objects", *(metric.replace("_", " ") for metric in metrics)], rows)


def level_table_text(scores: Mapping[str, float]) -> str:
    """Table 9 of the pyramidal output from the scores of "levels": who answers by row, the pixels asked by column."""
    strides = [key.removeprefix("share_") for key in scores if key.startswith("share_")]
    rows = [["assigned level", cell(scores["mIoU"]), *(cell(scores[f"mIoU_{s}_{s}"]) for s in strides)]]
    for answering in strides:
        of_assigned = (cell(scores[f"mIoU_{assigned}_{answering}"]) for assigned in strides)
        rows.append([f"level {answering}", cell(scores[f"mIoU_{answering}"]), *of_assigned])
    rows.append(["share of pixels", cell(100.0), *(cell(scores[f"share_{s}"]) for s in strides)])
    return table_text(["answers of", "all pixels", *(f"level {s}'s" for s in strides)], rows)


def error_table_text(scores: Mapping[str, float]) -> str:
    """Table 1 of the error prediction from the scores of "errors", and beside it what the head's own doubt finds.

    A row per threshold of the error probability, or of 1 - confidence; then those that the config and the data choose.
    """
    columns = {"errors: IoU": "IoU", "hard recall": "hard_recall"}
    columns |= {"1 - confidence: IoU": "confidence_IoU", "its hard recall": "confidence_hard_recall"}
    rows = []
    for threshold in [key.removeprefix("IoU-") for key in scores if key.startswith("IoU-")]:
        of_threshold = (cell(scores[f"{metric}-{threshold}"]) for metric in columns.values())
        rows.append([f"{100 * float(threshold):g}", *of_threshold])
    rows.append([f"set: {scores['threshold']:g}", *(cell(scores[metric]) for metric in columns.values())])
    for title, metric in (("best", "best_IoU"), ("best threshold", "best_threshold")):
        rows.append([title, cell(scores[metric]), "", cell(scores[f"confidence_{metric}"]), ""])
    of_pixels = f"wrong are {cell(scores['error_rate'])} % of the pixels, {cell(scores['hard_ratio'])} % of them hard"
    return f"{of_pixels}\n{table_text(['threshold, %', *columns], rows)}"


def table_text(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    alignment = ["left"] + ["right"] * (len(headers) - 1)
    return tabulate(rows, headers=headers, tablefmt="simple", colalign=alignment, disable_numparse=True)


def cell(value: float | None) -> str:
    """A percentage; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"
