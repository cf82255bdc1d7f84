"""Values of COCO exporters whose meaning is plain are read, counted and reported once; others are errors."""

import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unified_seg.data.coco.categories import build_class_table
from unified_seg.data.coco.instance_format import load_coco_instances
from unified_seg.data.coco.panoptic_format import load_coco_panoptic
from unified_seg.data.coco.prediction_files import read_detections, read_images
from unified_seg.data.problems import DataError, Problem

CATEGORIES = [{"id": 1, "name": "hen", "isthing": 1}, {"id": 2, "name": "cow", "isthing": 1}]
TABLE = build_class_table(Path("classes.json"), CATEGORIES)
POLYGON = [[3, 2, 7, 2, 7, 5, 3, 5]]
PLAIN: dict[str, Any] = {
    "images": [{"id": 4, "file_name": "a.png", "height": 8, "width": 12}],
    "annotations": [
        {"id": i, "image_id": 4, "category_id": 2, "bbox": [3.0, 2.0, 4.0, 3.0], "segmentation": POLYGON, "iscrowd": 0}
        for i in (0, 1)
    ],
    "categories": CATEGORIES,
}


def load(folder: Path, content: Any, report: Any = None) -> list[dict[str, Any]]:
    file = folder / "file.json"
    file.write_text(json.dumps(content))
    problems: list[Problem] = []
    return load_coco_instances(file, folder, TABLE, report=report or problems.append)


def changed(key: str, **values: Any) -> dict[str, Any]:
    content = copy.deepcopy(PLAIN)
    for record in content[key]:
        record.update(values)
    return content


OTHERWISE: dict[str, dict[str, Any]] = {
    "null as iscrowd": changed("annotations", iscrowd=None),
    "false as iscrowd": changed("annotations", iscrowd=False),
    "0.0 as iscrowd": changed("annotations", iscrowd=0.0),
    "float category id": changed("annotations", category_id=2.0),
    "text category id": changed("annotations", category_id="2"),
    "float image id": changed("annotations", image_id=4.0),
    "text image id": changed("annotations", image_id="4"),
    "float id of images": changed("images", id=4.0),
    "float size": changed("images", height=8.0, width=12.0),
    "text size": changed("images", height="8", width="12"),
    "null area": changed("annotations", area=None),
    "float category ids": {**PLAIN, "categories": [{**c, "id": float(c["id"])} for c in CATEGORIES]},
    "null isthing and colors": {**PLAIN, "categories": [{**c, "isthing": None, "color": None} for c in CATEGORIES]},
    "no box": changed("annotations", bbox=None),
    "an empty box": changed("annotations", bbox=[]),
    "a box of zeros": changed("annotations", bbox=[0, 0, 0, 0]),
    "an empty polygon more": changed("annotations", segmentation=[*POLYGON, []]),
    "a flat polygon": changed("annotations", segmentation=POLYGON[0]),
    "text in a box": changed("annotations", bbox=["3", "2", "4", "3"]),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_plain_values_mean_the_same(name: str, tmp_path: Path) -> None:
    (expected,), (found,) = load(tmp_path, PLAIN), load(tmp_path, OTHERWISE[name])
    if name == "a flat polygon":
        found["annotations"] = [{**a, "segmentation": [a["segmentation"]]} for a in found["annotations"]]
    assert found == expected


AMBIGUOUS: dict[str, dict[str, Any]] = {
    "fractional id": changed("annotations", category_id=1.5),
    "text that is no number": changed("annotations", category_id="hen"),
    "crowd of 2": changed("annotations", iscrowd=2),
    "crowd NaN": changed("annotations", iscrowd=float("nan")),
    "no category": changed("annotations", category_id=None),
    "no image": changed("annotations", image_id=None),
    "true as id": changed("annotations", category_id=True),
    "fractional height": changed("images", height=8.5),
    "neither box nor mask": changed("annotations", bbox=None, segmentation=None),
    "no height": changed("images", height=None),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_values_are_errors(name: str, tmp_path: Path) -> None:
    found: list[Problem] = []
    load(tmp_path, AMBIGUOUS[name], found.append)
    assert [p for p in found if p.is_error] and all(p.file.endswith("file.json") and p.record for p in found)


def test_plain_values_are_counted_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = changed("annotations", iscrowd=None)
    found: list[Problem] = []
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            load(tmp_path, content, found.append)
    assert len([r for r in caplog.records if "iscrowd is null" in r.message]) == 1
    note = found[0]
    assert (note.kind, note.is_error, note.record) == ("plain-value", False, "annotations record 0")
    assert "iscrowd" in note.cause and "2 records" in note.cause


def test_masks_without_a_polygon_are_absent(tmp_path: Path) -> None:
    (found,) = load(tmp_path, changed("annotations", segmentation=[[]]))
    assert [a["bbox"] for a in found["annotations"]] == [[3, 2, 4, 3]] * 2
    assert not any("segmentation" in a for a in found["annotations"])


@pytest.mark.parametrize("given", [{}, {"height": None, "width": None}])
def test_absent_sizes_of_images_are_read_from_the_files(given: dict[str, None], tmp_path: Path) -> None:
    Image.new("RGB", (12, 8)).save(tmp_path / "a.png")
    content = {**PLAIN, "images": [{"id": 4, "file_name": "a.png", **given}]}
    found: list[Problem] = []
    assert load(tmp_path, content, found.append) == load(tmp_path, PLAIN)
    assert [p.kind for p in found] == ["plain-value"] and "height and width" in found[0].cause
    # An error is that of the file, once.
    (tmp_path / "a.png").unlink()
    found.clear()
    assert load(tmp_path, content, found.append) == []
    assert [p.kind for p in found] == ["missing-file"]


def test_null_as_annotations_is_no_ground_truth(tmp_path: Path) -> None:
    (record,) = load(tmp_path, {**PLAIN, "annotations": None})
    assert "annotations" not in record


def spell(value: int) -> st.SearchStrategy[Any]:
    return st.sampled_from([value, float(value), str(value)])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_mixture_of_plain_values_means_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("plain")
    content = copy.deepcopy(PLAIN)
    image = content["images"][0]
    image.update(id=data.draw(st.sampled_from([4, 4.0])), height=data.draw(spell(8)), width=data.draw(spell(12)))
    for record in content["annotations"]:
        record["image_id"] = data.draw(spell(4))
        record["category_id"] = data.draw(spell(2))
        record["iscrowd"] = data.draw(st.sampled_from([0, False, None, 0.0, "0"]))
        record["area"] = data.draw(st.sampled_from([None, 12, 12.0]))
        if data.draw(st.booleans()):
            record["bbox"] = data.draw(st.sampled_from([None, []]))
        if data.draw(st.booleans()):
            del record["iscrowd"]
    assert load(folder, content) == load(folder, PLAIN)


def test_panoptic_files_are_read_likewise(tmp_path: Path) -> None:
    segment = {"id": 7.0, "category_id": "2", "iscrowd": None, "area": None, "bbox": None}
    annotation = {"image_id": 4.0, "file_name": "a.png", "segments_info": [segment]}
    (tmp_path / "p.json").write_text(json.dumps({**PLAIN, "annotations": [annotation]}))
    (record,) = load_coco_panoptic(tmp_path / "p.json", tmp_path, tmp_path, TABLE)
    assert record["segments_info"] == [{"id": 7, "category_id": 1, "isthing": True, "iscrowd": 0}]


def test_predictions_are_read_likewise(tmp_path: Path) -> None:
    (tmp_path / "i.json").write_text(json.dumps(PLAIN))
    (tmp_path / "d.json").write_text(json.dumps([{"image_id": "4", "category_id": 2.0, "score": 1}]))
    (detection,) = read_detections(tmp_path / "d.json", read_images(tmp_path / "i.json"), TABLE)[4]
    assert (detection.thing_id, detection.record["score"]) == (1, 1.0)
    (tmp_path / "d.json").write_text(json.dumps([{"image_id": "5", "category_id": 2, "score": 1}]))
    with pytest.raises(DataError, match="image id '5' is not among"):
        read_detections(tmp_path / "d.json", read_images(tmp_path / "i.json"), TABLE)


def test_ids_of_a_file_are_found_by_the_names_of_its_categories(tmp_path: Path) -> None:
    """A CLASSES file gives its own ids to the names."""
    categories = [{"id": 2, "name": "hen"}, {"id": 9, "name": "cow"}, {"id": 1, "name": "dog"}]
    content = {**PLAIN, "categories": categories}
    (record,) = load(tmp_path, content)
    assert [TABLE.things[a["category_id"]].name for a in record["annotations"]] == ["hen", "hen"]
    found: list[Problem] = []
    load(tmp_path, {**changed("annotations", category_id=1), "categories": categories}, found.append)
    assert [p.kind for p in found] == ["class"] and "'dog'" in found[0].cause
