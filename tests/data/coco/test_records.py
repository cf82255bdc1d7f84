"""COCO's list of images."""

from pathlib import Path
from typing import Any

import pytest

from unified_seg.data.coco.records import ImageEntry, read_image_entries
from unified_seg.data.problems import DataError, Problem

FILE = Path("file.json")


def entry(**change: Any) -> dict[str, Any]:
    return {"id": 1, "file_name": "a.jpg", "height": 4, "width": 6, **change}


def test_images_are_read_by_id():
    content = {"images": [entry(), entry(id="x", file_name="b/c.png", license=3)]}
    assert read_image_entries(FILE, content).by_id == {
        1: ImageEntry(1, "a.jpg", 4, 6),
        "x": ImageEntry("x", "b/c.png", 4, 6),
    }


IMAGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "repeated id": (entry(file_name="b.jpg"), "duplicate", "the image id 1 is there twice"),
    "repeated file name": (entry(id=2), "duplicate", r"images 1 and 2 both have the file_name 'a\.jpg'"),
    "no height": ({"id": 2, "file_name": "b", "width": 6}, "format", "height is missing"),
    "height of another type": (entry(id=2, file_name="b", height=None), "format", "height must be int, got None"),
    "repeated file by another path": (entry(id=2, file_name="./a.jpg"), "duplicate", "both have the file_name"),
    "too many pixels": (entry(id=2, file_name="b", width=10**9), "size", "more than the limit of 89478485"),
    "no pixel": (entry(id=2, file_name="b", width=0), "size", "must be at least 1, got 4x0"),
    "id of another type": (entry(id=True, file_name="b"), "format", "id must be int or str, got True"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_wrong_images_are_named_and_left_out(name: str):
    record, kind, message = IMAGES[name]
    with pytest.raises(DataError, match=rf"file\.json: images record 1: .*{message}"):
        read_image_entries(FILE, {"images": [entry(), record]})
    found: list[Problem] = []
    assert list(read_image_entries(FILE, {"images": [entry(), record]}, found.append).by_id) == [1]
    assert [(p.kind, p.record) for p in found] == [(kind, "images record 1")]
