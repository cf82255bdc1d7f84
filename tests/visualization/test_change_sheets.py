"""Which images change most: answers given by hand, ten by ten pixels that are road."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.problems import DataError
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.change_sheets import caption, measure, write_changes, write_csv
from unified_seg.visualization.changes import LabelMaps

ROAD, CAR, IGNORE = 1, 2, 255
NAMES = ("FCN", "PSPNet")
CAPTION, GAP = 22, 4
# Rows of cars that the two answers see on the road, of ten: nine rows right, then six; five, then eight; ...
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
        answers = []
        for rows in CARS[record["image_id"]]:
            labels = np.full((10, 10), ROAD)
            labels[:rows] = CAR
            answers.append(labels)
        return LabelMaps(read_semantic_ground_truth(record, table), *answers)

    return maps


def test_changes_are_sorted_best_first(records, compare, table, tmp_path):
    measured = measure(compare, records, table)
    assert [m.record["image_id"] for m in measured] == ["better", "same", "worse"]
    assert [tuple(m.change) for m in measured] == [(50, 80), (40, 40), (90, 60)]
    write_csv(tmp_path / "changes.csv", measured)
    assert (tmp_path / "changes.csv").read_text().splitlines() == [
        "image_id,before,after,change",
        "better,50.0000,80.0000,30.0000",
        "same,40.0000,40.0000,0.0000",
        "worse,90.0000,60.0000,-30.0000",
    ]
    assert caption(*measured[2], NAMES) == "worse: FCN 90.00 % right, PSPNet 60.00 %: -30.00 points"


@pytest.mark.parametrize(
    ("top", "best", "worst"),
    [
        (1, ["better"], ["worse"]),
        (2, ["better", "same"], ["worse", "same"]),
        (9, ["better", "same", "worse"], ["worse", "same", "better"]),
    ],
)
def test_sheets_show_the_best_and_the_worst(records, compare, table, tmp_path, monkeypatch, top, best, worst):
    shown = []

    def spy(record: dict[str, Any], *rest: Any) -> str:
        shown.append(record["image_id"])
        return caption(record, *rest)

    monkeypatch.setattr("unified_seg.visualization.change_sheets.caption", spy)
    text = write_changes(tmp_path, compare, records, table, names=NAMES, top=top)
    assert shown == best + worst
    # (30 + 0 - 30) / 3
    assert text == "3 of 4 images: 1 gain, 1 lose, mean change +0.000 points; best +30.00, worst -30.00"
    assert len((tmp_path / "changes.csv").read_text().splitlines()) == 4
    for name in ("best.png", "worst.png"):
        height, width = cv2.imread(str(tmp_path / name)).shape[:2]
        # Ten pixels are drawn 52 times as large; four pictures a row, under the captions of the row and their own. Of
        # the classes road and car, the legend is one line of text with a margin.
        assert width == 4 * 520 + 3 * GAP
        assert height == len(best) * (520 + 2 * CAPTION) + (len(best) - 1) * GAP + GAP + CAPTION + GAP


def test_nothing_to_compare(records, compare, table, tmp_path):
    void = [record for record in records if record["image_id"] == "void"]
    with pytest.raises(DataError, match="none of the 1 images has a labeled pixel"):
        write_changes(tmp_path, compare, void, table, names=NAMES, top=1)
    assert not (tmp_path / "changes.csv").exists()


def test_files_that_cannot_be_written_are_named(records, compare, table, tmp_path):
    (tmp_path / "changes.csv").mkdir()
    with pytest.raises(DataError, match=r"changes\.csv can't be written: Is a directory"):
        write_changes(tmp_path, compare, records, table, names=NAMES, top=1)
    (tmp_path / "changes.csv").rmdir()
    (tmp_path / "worst.png").mkdir()
    with pytest.raises(DataError, match=r"worst\.png can't be written"):
        write_changes(tmp_path, compare, records, table, names=NAMES, top=1)
