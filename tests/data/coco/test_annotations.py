"""COCO's lists of images and categories."""

import json
from pathlib import Path
from typing import Any

import pytest
from three_classes import CAR, SKY, TABLE, TRUCK

from unified_seg.data.coco.annotations import (
    ImageEntry,
    RecordError,
    class_table,
    coco_categories,
    flag,
    numbers,
    path_in,
    read_categories,
    read_image_entries,
)
from unified_seg.data.io.reading import DataError
from unified_seg.data.validation.problems import Problem

FILE = Path("file.json")


def write(folder: Path, content: Any) -> Path:
    file = folder / "file.json"
    file.write_text(json.dumps(content))
    return file


class TestCategories:
    records = (
        {"id": SKY, "name": "sky", "isthing": 0, "supercategory": "sky", "color": [70, 130, 180]},
        {"id": CAR, "name": "car", "isthing": 1, "supercategory": "vehicle", "color": [0, 0, 142]},
        {"id": TRUCK, "name": "truck", "isthing": True, "supercategory": "vehicle", "color": [0, 0, 70]},
    )

    @pytest.mark.parametrize("key", [None, "categories"])
    def test_each_class_is_its_own_category(self, tmp_path: Path, key: str | None):
        file = write(tmp_path, {key: self.records} if key else self.records)
        assert read_categories(file, use_supercategories=False).classes == TABLE.classes

    def test_look_alikes(self, tmp_path: Path):
        table = read_categories(write(tmp_path, self.records), use_supercategories=True)
        assert [c.category for c in table.classes] == ["sky", "vehicle", "vehicle"]

    def test_classes_of_one_name_are_no_look_alikes(self, tmp_path: Path):
        records = [{**record, "name": "car"} for record in self.records]
        table = read_categories(write(tmp_path, records), use_supercategories=False)
        assert table.semantic_names == ["car"] * 3
        assert table.category_of.tolist() == [0, 1, 2]

    def test_what_is_missing(self, tmp_path: Path):
        bare = [{key: record[key] for key in ("id", "name", "isthing")} for record in self.records]
        table = read_categories(write(tmp_path, bare), use_supercategories=False)
        assert len({c.color for c in table.classes}) == 3
        with pytest.raises(DataError, match=r"file\.json: record 0: supercategory must be str, got None"):
            read_categories(write(tmp_path, bare), use_supercategories=True)

    def test_a_file_of_instances_has_things_alone(self):
        table = class_table(FILE, [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}], use_supercategories=False)
        assert [(c.name, c.thing_id, c.dataset_id) for c in table.classes] == [("cat", 0, 3), ("dog", 1, 1)]

    def test_written_categories_are_read_as_they_were(self):
        table = class_table(FILE, [*self.records], use_supercategories=True)
        written = coco_categories(table.classes)
        # Sky is its own category; of the vehicles it has to be said.
        assert [c.get("supercategory") for c in written] == [None, "vehicle", "vehicle"]
        assert class_table(FILE, written).classes == table.classes

    @pytest.mark.parametrize("said", ["", "none", None, "everything"])
    def test_one_supercategory_of_all_is_none(self, said: str | None):
        """What annotation tools write who ask for none."""
        categories = [{"id": i, "name": name, "supercategory": said} for i, name in enumerate("abc")]
        assert [c.category for c in class_table(FILE, categories).classes] == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("categories", "message"),
        [
            (None, "expected a list of records, got NoneType"),
            ([{"id": 1}], "record 0: name must be str, got None"),
            ([{"id": 1, "name": "a", "isthing": 2}], "record 0: isthing must be 0 or 1, got 2"),
            ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "a dataset id names two classes"),
            ([{"id": 1, "name": " "}], "record 0: its name is empty"),
            ([], "a class table needs at least one class"),
        ],
    )
    def test_what_is_no_table(self, categories: Any, message: str):
        with pytest.raises(DataError, match=rf"file\.json: {message}"):
            class_table(FILE, categories, use_supercategories=False)


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


def test_names_stay_in_their_folder(tmp_path: Path):
    (tmp_path / "root").mkdir()
    assert path_in(tmp_path / "root", "a/../b c.jpg").resolve() == tmp_path / "root" / "b c.jpg"
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    assert path_in(tmp_path / "root", str(tmp_path / "root/a.jpg")) == tmp_path / "root/a.jpg"
    (tmp_path / "root" / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    for name in ("../root2/a.jpg", "/etc/passwd", "a/../../b.jpg", "link/a.jpg", "link.jpg", "", "."):
        with pytest.raises(RecordError, match="leads out of") as error:
            path_in(tmp_path / "root", name)
        assert error.value.kind == "path"
    with pytest.raises(RecordError, match=r"leads out of .* or names no file"):
        path_in(tmp_path, "a\0b")


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
