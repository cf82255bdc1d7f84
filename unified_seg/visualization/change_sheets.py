"""Where two semantic answers differ most: every image of a data set measured, the best and worst changes drawn.

The answers come from a callable that gives a record's label maps, so they may be those of one model before and after
its fusion, or those of two models.
"""

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from unified_seg.data.io.image_files import read_image
from unified_seg.data.problems import DataError
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.changes import LabelMaps, SemanticChange, draw_change, measure_change
from unified_seg.visualization.panels import add_legend
from unified_seg.visualization.sheet import make_contact_sheet

Record = dict[str, Any]
Compare = Callable[[Record], LabelMaps]


class Measured(NamedTuple):
    """A record and what changed in it."""

    record: Record
    change: SemanticChange


def write_changes(
    folder: Path, compare: Compare, records: Sequence[Record], table: ClassTable, *, names: tuple[str, str], top: int
) -> str:
    """Write changes.csv (see `write_csv`), best.png and worst.png: the images with the largest gain and largest loss.

    Args:
        folder: is there.
        compare: the label maps of a record.
        records: of a data set, each with `file_name` and `image_id`.
        table: of the data set.
        names: of the two answers, for the captions.
        top: images on each sheet, at least one.

    Returns:
        A line that sums up all images.

    Raises:
        DataError: no image has a labeled pixel, or a file can't be written.
    """
    measured = measure(compare, records, table)
    if not measured:
        raise DataError(f"none of the {len(records)} images has a labeled pixel: there is nothing to compare")
    write_csv(folder / "changes.csv", measured)
    draw_sheet(folder / "best.png", compare, measured[:top], table, names)
    draw_sheet(folder / "worst.png", compare, measured[: -top - 1 : -1], table, names)
    gains = np.array([m.change.gain for m in measured])
    return (
        f"{len(measured)} of {len(records)} images: {(gains > 0).sum()} gain, {(gains < 0).sum()} lose, "
        f"mean change {gains.mean():+.3f} points; best {gains[0]:+.2f}, worst {gains[-1]:+.2f}"
    )


def measure(compare: Compare, records: Sequence[Record], table: ClassTable) -> list[Measured]:
    """The change of each record, best first; records without a labeled pixel are left out."""
    measured = []
    for record in tqdm(records, desc="predicting", unit="img", disable=None):
        change = measure_change(compare(record), table)
        if not math.isnan(change.gain):
            measured.append(Measured(record, change))
    return sorted(measured, key=lambda m: -m.change.gain)


def write_csv(file: Path, measured: Sequence[Measured]) -> None:
    """A line for each record, in the given order: share of the labeled pixels that are right, in percent.

    Raises:
        DataError: the file can't be written.
    """
    try:
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["image_id", "before", "after", "change"])
            for record, change in measured:
                writer.writerow([record["image_id"], *(f"{v:.4f}" for v in (change.before, change.after, change.gain))])
    except OSError as error:
        raise DataError(f"{file} can't be written: {error.strerror}") from None


def draw_sheet(
    file: Path, compare: Compare, chosen: Sequence[Measured], table: ClassTable, names: tuple[str, str]
) -> None:
    """A row for each record (see `draw_change`), above a legend of the classes in them.

    The records are compared once more: the maps of a whole data set would not fit into memory.

    Raises:
        DataError: the file can't be written.
    """
    rows, panels = [], []
    for record, change in tqdm(chosen, desc=f"drawing {file.name}", unit="img", disable=None):
        row, shown = draw_change(read_image(record["file_name"], "RGB"), compare(record), table, names)
        rows.append((caption(record, change, names), row))
        panels += shown
    sheet = add_legend(make_contact_sheet(rows), panels, table, "present")
    if not cv2.imwrite(str(file), sheet[:, :, ::-1]):
        raise DataError(f"{file} can't be written")


def caption(record: Record, change: SemanticChange, names: tuple[str, str]) -> str:
    numbers = f"{names[0]} {change.before:.2f} % right, {names[1]} {change.after:.2f} %: {change.gain:+.2f} points"
    return f"{record['image_id']}: {numbers}"
