"""The images of a data set whose semantic maps change most from one prediction to another.

A callable returns the label maps of records, so the predictions may be those of one model before and after its fusion,
or those of two models.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from unified_seg.data.io.image_files import read_picture
from unified_seg.data.problems import DataError, WriteError
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.canvas import write_picture
from unified_seg.visualization.changes import LabelMaps, PercentChange, draw_change, measure_change
from unified_seg.visualization.overview import add_legend
from unified_seg.visualization.sheet import Picture, make_grid
from unified_seg_files import escape_cell, write_rows

Record = dict[str, Any]
#: Returns the label maps of each record, in order; it may predict several at once.
Compare = Callable[[Sequence[Record]], Iterable[LabelMaps]]


class RecordChange(NamedTuple):
    """A record and the change of its score."""

    record: Record
    change: PercentChange


def write_changes(
    folder: Path, compare: Compare, records: Sequence[Record], table: ClassTable, *, names: tuple[str, str], top: int
) -> str:
    """Write changes.csv (see `write_csv`), best.png and worst.png: the images with the largest gain and largest loss.

    Args:
        folder: exists.
        compare: returns the label maps of each of the records.
        records: of a data set, each with `file_name` and `image_id`.
        table: of the data set.
        names: of the two predictions, for the captions.
        top: number of images on each sheet, at least one.

    Returns:
        A line that summarizes all images.

    Raises:
        DataError: no image has a labeled pixel, or a file cannot be written.
    """
    changes = measure_changes(compare, records, table)
    if not changes:
        raise DataError(f"no labeled pixel in {len(records)} images, so there is nothing to compare")
    write_csv(folder / "changes.csv", changes)
    for name, chosen in select_extremes(changes, top).items():
        draw_sheet(folder / f"{name}.png", compare, chosen, table, names)
    gains = np.array([c.change.gain for c in changes])
    return (
        f"{len(changes)} of {len(records)} images: {(gains > 0).sum()} gain, {(gains < 0).sum()} lose, "
        f"mean change {gains.mean():+.3f} points; best {gains[0]:+.2f}, worst {gains[-1]:+.2f}"
    )


def measure_changes(compare: Compare, records: Sequence[Record], table: ClassTable) -> list[RecordChange]:
    """Return the changes of records with a labeled pixel, best first."""
    changes = []
    pairs = zip(records, compare(records), strict=True)
    for record, maps in tqdm(pairs, "predicting", len(records), unit="img", disable=None):
        change = measure_change(maps, table)
        if not math.isnan(change.gain):
            changes.append(RecordChange(record, change))
    return sorted(changes, key=lambda c: -c.change.gain)


def select_extremes(changes: Sequence[RecordChange], top: int) -> dict[str, Sequence[RecordChange]]:
    """Return the first `top` changes as "best" and the last ones, the last one first, as "worst"."""
    return {"best": changes[:top], "worst": changes[: -top - 1 : -1]}


def write_csv(file: Path, changes: Sequence[RecordChange]) -> None:
    """Write a line for each record: its score in percent before and after, and the change in points.

    Raises:
        DataError: the file cannot be written.
    """
    rows: list[list[object]] = [["image_id", "before", "after", "change"]]
    for record, change in changes:
        numbers = (f"{value:.4f}" for value in (change.before, change.after, change.gain))
        rows.append([escape_cell(record["image_id"]), *numbers])
    try:
        write_rows(file, rows)
    except OSError as error:
        raise WriteError.from_error(error, file) from None


def draw_sheet(
    file: Path, compare: Compare, chosen: Sequence[RecordChange], table: ClassTable, names: tuple[str, str]
) -> None:
    """Write a picture with a row for each record (see `draw_change`), above a legend.

    The records are compared again, since the maps of a whole data set may not fit into memory.

    Raises:
        DataError: the file cannot be written.
    """
    rows, panels = [], []
    pairs = zip(chosen, compare([each.record for each in chosen]), strict=True)
    for (record, change), maps in tqdm(pairs, f"drawing {file.name}", len(chosen), unit="img", disable=None):
        row, shown = draw_change(read_picture(record["file_name"]), maps, table, names)
        rows.append(Picture(row, format_caption(record, change, names)))
        panels += shown
    sheet = add_legend(make_grid(rows, 1), panels, table, "present")
    write_picture(file, sheet)


def format_caption(record: Record, change: PercentChange, names: tuple[str, str]) -> str:
    """Return the caption of a row: the image id and the percentages of correct pixels."""
    numbers = f"{names[0]} {change.before:.2f} % correct, {names[1]} {change.after:.2f} %: {change.gain:+.2f} points"
    return f"{record['image_id']}: {numbers}"
