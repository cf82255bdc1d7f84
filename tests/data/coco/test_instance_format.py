"""COCO's instance JSON as records, and the errors of wrong ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from unified_seg.data.coco.instance_format import load_coco_instances
from unified_seg.data.problems import DataError, Problem
from unified_seg.structures.class_table import ClassTable, SegmentClass

TABLE = ClassTable(
    [
        SegmentClass("grass", 0, None, 3, "grass", (0, 90, 0)),
        SegmentClass("hen", 1, 0, 17, "hen", (200, 100, 0)),
        SegmentClass("cow", 2, 1, 40, "cow", (90, 60, 30)),
    ]
)
IMAGES = [
    {"id": 5, "file_name": "a.png", "height": 8, "width": 12},
    {"id": 6, "file_name": "b c.jpg", "height": 8, "width": 12},
]


def annotation(**change: Any) -> dict[str, Any]:
    return {"id": 0, "image_id": 6, "category_id": 40, "bbox": [1, 2, 3, 4], **change}


def write(folder: Path, *annotations: Any, **change: Any) -> Path:
    file = folder / "file.json"
    file.write_text(json.dumps({"images": IMAGES, "annotations": list(annotations), **change}))
    return file


def load(file: Path, **options: Any) -> list[dict[str, Any]]:
    return load_coco_instances(file, file.parent / "images", TABLE, **options)


def test_records_have_the_annotations_of_their_image(tmp_path: Path) -> None:
    polygon = [[1, 2, 4, 2, 4, 6]]
    file = write(tmp_path, annotation(segmentation=polygon), annotation(id=1, category_id=17, iscrowd=1))
    nothing, full = load(file)
    assert nothing == {
        "file_name": str(tmp_path / "images/a.png"),
        "image_id": 5,
        "height": 8,
        "width": 12,
        "annotations": [],
    }
    assert [(a["category_id"], a["iscrowd"], a.get("segmentation")) for a in full["annotations"]] == [
        (1, 0, polygon),
        (0, 1, None),
    ]


def test_annotation_ids_are_optional(tmp_path: Path) -> None:
    file = write(tmp_path, *({k: v for k, v in annotation().items() if k != "id"} for _ in range(2)))
    assert len(load(file)[1]["annotations"]) == 2


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "repeated id": (annotation(), "duplicate", "the annotation id 0 is there twice"),
    "id of another type": (annotation(id="x"), "format", "id must be int, got 'x'"),
    "unknown image": (annotation(id=1, image_id=7), "missing-file", "its image id 7 is not among the images"),
    "unknown class": (annotation(id=1, category_id=41), "class", "unknown category_id 41"),
    "stuff": (annotation(id=1, category_id=3), "class", "category_id 3 is grass, which is stuff"),
    "negative class": (annotation(id=1, category_id=-1), "class", "unknown category_id -1"),
    "no box": (annotation(id=1, bbox=None), "box", "neither a bbox nor a segmentation"),
    "a box of three numbers": (annotation(id=1, bbox=[1, 2, 3]), "format", "bbox must be x, y, width, height"),
    "infinite box": (
        annotation(id=1, bbox=[0, 0, float("inf"), 4]),
        "format",
        r"bbox\[2\] must be finite float",
    ),
    "negative width": (annotation(id=1, bbox=[1, 2, -1, 4]), "box", "width and height >= 0"),
    "crowd of 2": (annotation(id=1, iscrowd=2), "format", "iscrowd must be int <= 1, got 2"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_annotations_are_named_and_left_out(name: str, tmp_path: Path) -> None:
    """The id 0 is valid too."""
    wrong, kind, message = WRONG[name]
    file = write(tmp_path, annotation(), wrong)
    with pytest.raises(DataError, match=rf"file\.json: annotations record 1: .*{message}"):
        load(file)
    found: list[Problem] = []
    assert [len(record["annotations"]) for record in load(file, report=found.append)] == [0, 1]
    assert [(p.kind, p.record) for p in found] == [(kind, "annotations record 1")]


def test_instances_without_area_are_left_out(tmp_path: Path) -> None:
    """COCO's own training annotations have two."""
    file = write(tmp_path, annotation(bbox=[1, 2, 3, 0]), annotation(id=1))
    assert [a["id"] for a in load(file)[1]["annotations"]] == [1]
    found: list[Problem] = []
    load(file, report=found.append)
    assert [(p.kind, p.is_error) for p in found] == [("no-area", False)]


def test_images_outside_of_their_folder_are_named(tmp_path: Path) -> None:
    file = write(tmp_path, images=[{**IMAGES[0], "file_name": "../x.png"}])
    with pytest.raises(DataError, match=r"file\.json: image 5: file_name '\.\./x\.png' leads out of"):
        load(file)
    found: list[Problem] = []
    assert load(file, report=found.append) == [] and found[0].kind == "path"


def test_annotations_of_another_type_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"file\.json: expected a list of annotations records, got dict"):
        load(write(tmp_path, annotations={}))
