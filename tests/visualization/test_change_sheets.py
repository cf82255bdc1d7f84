"""The images that change most: predictions by hand for ten by ten pixels of road."""

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.problems import DataError
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.change_sheets import (
    format_caption,
    measure_changes,
    select_extremes,
    write_changes,
    write_csv,
)
from unified_seg.visualization.changes import LabelMaps

ROAD, CAR, IGNORE = 1, 2, 255
NAMES = ("FCN", "PSPNet")
CAPTION, GAP = 22, 4
# Rows of the two predictions, of ten, that are car: nine rows are correct, then six; five, then eight; ...
CARS = {"worse": (1, 4), "better": (5, 2), "void": (3, 3), "same": (6, 6)}


@pytest.fixture
def records(tmp_path: Path) -> list[dict[str, Any]]:
    """Images whose ground truth is all road, but for one without a labeled pixel."""
    made = []
    for name in CARS:
        record = {"image_id": name, "file_name": str(tmp_path / f"{name}.png"), "height": 10, "width": 10}
        record["sem_seg_file_name"] = str(tmp_path / f"{name}_label.png")
        Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(record["file_name"])
        label = np.full((10, 10), IGNORE if name == "void" else ROAD, np.uint8)
        Image.fromarray(label).save(record["sem_seg_file_name"])
        made.append(record)
    return made


@pytest.fixture
def compare(table: ClassTable):
    def maps(record: dict[str, Any]) -> LabelMaps:
        predictions = []
        for rows in CARS[record["image_id"]]:
            labels = np.full((10, 10), ROAD)
            labels[:rows] = CAR
            predictions.append(labels)
        return LabelMaps(read_semantic_ground_truth(record, table), *predictions)

    return partial(map, maps)


def test_changes_are_sorted_best_first(records, compare, table, tmp_path):
    changes = measure_changes(compare, records, table)
    assert [c.record["image_id"] for c in changes] == ["better", "same", "worse"]
    assert [tuple(c.change) for c in changes] == [(50, 80), (40, 40), (90, 60)]
    write_csv(tmp_path / "changes.csv", changes)
    assert (tmp_path / "changes.csv").read_text().splitlines() == [
        "image_id,before,after,change",
        "better,50.0000,80.0000,30.0000",
        "same,40.0000,40.0000,0.0000",
        "worse,90.0000,60.0000,-30.0000",
    ]
    assert format_caption(*changes[2], NAMES) == "worse: FCN 90.00 % correct, PSPNet 60.00 %: -30.00 points"


@pytest.mark.parametrize(
    ("top", "best", "worst"),
    [
        (1, ["better"], ["worse"]),
        (2, ["better", "same"], ["worse", "same"]),
        (9, ["better", "same", "worse"], ["worse", "same", "better"]),
    ],
)
def test_extremes_are_the_best_and_the_worst(records, compare, table, top, best, worst):
    extremes = select_extremes(measure_changes(compare, records, table), top)
    chosen = {name: [change.record["image_id"] for change in changes] for name, changes in extremes.items()}
    assert chosen == {"best": best, "worst": worst}


def test_files_are_written(records, compare, table, tmp_path):
    text = write_changes(tmp_path, compare, records, table, names=NAMES, top=2)
    # (30 + 0 - 30) / 3
    assert text == "3 of 4 images: 1 gain, 1 lose, mean change +0.000 points; best +30.00, worst -30.00"
    assert len((tmp_path / "changes.csv").read_text().splitlines()) == 4
    for name in ("best.png", "worst.png"):
        height, width = cv2.imread(str(tmp_path / name)).shape[:2]
        # Ten pixels are drawn 48 times as large; four pictures a row, under the captions of the row and their own. Of
        # the classes road and car, the legend is one line of text with a margin.
        assert width == 4 * 480 + 3 * GAP
        assert height == 2 * (480 + 2 * CAPTION) + GAP + GAP + CAPTION + GAP


def test_no_labeled_pixel_is_an_error(records, compare, table, tmp_path):
    void = [record for record in records if record["image_id"] == "void"]
    with pytest.raises(DataError, match="1 images"):
        write_changes(tmp_path, compare, void, table, names=NAMES, top=1)
    assert not (tmp_path / "changes.csv").exists()


def test_unwritable_files_are_named(records, compare, table, tmp_path):
    (tmp_path / "changes.csv").mkdir()
    with pytest.raises(DataError, match=r"changes\.csv"):
        write_changes(tmp_path, compare, records, table, names=NAMES, top=1)
    (tmp_path / "changes.csv").rmdir()
    (tmp_path / "worst.png").mkdir()
    with pytest.raises(DataError, match=r"worst\.png"):
        write_changes(tmp_path, compare, records, table, names=NAMES, top=1)
