"""COCO's lists of images and categories."""

import json
from pathlib import Path
from typing import Any

import pytest

from unified_seg.data.coco.records import ImageEntry, flag, numbers, read_image_entries
from unified_seg.data.problems import DataError, Problem, RecordError

FILE = Path("file.json")


def write(folder: Path, content: Any) -> Path:
    file = folder / "file.json"
    file.write_text(json.dumps(content))
    return file


def entry(**change: Any) -> dict[str, Any]:
    return {"id": 1, "file_name": "a.jpg", "height": 4, "width": 6, **change}


def test_images_by_id():
    content = {"images": [entry(), entry(id="x", file_name="b/c.png", license=3)]}
    assert read_image_entries(FILE, content) == {
        1: ImageEntry(1, "a.jpg", (4, 6)),
        "x": ImageEntry("x", "b/c.png", (4, 6)),
    }


IMAGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "an id that is there": (entry(file_name="b.jpg"), "duplicate", "the image id 1 is there twice"),
    "a name that is there": (entry(id=2), "duplicate", r"images 1 and 2 both have the file_name 'a\.jpg'"),
    "no height": (entry(id=2, file_name="b", height=None), "format", "height must be int, got None"),
    "the same file by another name": (entry(id=2, file_name="./a.jpg"), "duplicate", "both have the file_name"),
    "more pixels than are read": (entry(id=2, file_name="b", width=10**9), "size", "more than 89478485 aren't read"),
    "no pixel": (entry(id=2, file_name="b", width=0), "size", r"must be at least 1, got \[4, 0\]"),
    "an id that is true": (entry(id=True, file_name="b"), "format", "id must be int or str, got True"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_a_wrong_image_is_named_and_left_out(name: str):
    record, kind, message = IMAGES[name]
    with pytest.raises(DataError, match=rf"file\.json: images record 1: .*{message}"):
        read_image_entries(FILE, {"images": [entry(), record]})
    found: list[Problem] = []
    assert list(read_image_entries(FILE, {"images": [entry(), record]}, found.append)) == [1]
    assert [(p.kind, p.record) for p in found] == [(kind, "images record 1")]


@pytest.mark.parametrize("value", [0, 1, True, False])
def test_flags(value: object):
    assert flag({"iscrowd": value}, "iscrowd") == bool(value)
    assert flag({}, "iscrowd") is False


@pytest.mark.parametrize("value", [2, "1", None, 1.0, [1]])
def test_what_is_no_flag(value: object):
    with pytest.raises(RecordError, match="iscrowd must be 0 or 1"):
        flag({"iscrowd": value}, "iscrowd")


def test_numbers():
    assert numbers({"bbox": [1, 2.5, 0, -3]}, "bbox", 4) == [1, 2.5, 0, -3]


@pytest.mark.parametrize(
    "value", [None, [1, 2], [1, 2, 3, "4"], [1, 2, 3, float("nan")], [1, 2, 3, 10**400], [True] * 4]
)
def test_what_are_no_numbers(value: object):
    with pytest.raises(RecordError, match="bbox must be 4"):
        numbers({"bbox": value}, "bbox", 4)
