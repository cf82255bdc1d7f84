"""COCO's lists of categories."""

import json
from pathlib import Path
from typing import Any

import pytest
from three_classes import CAR, SKY, TABLE, TRUCK

from unified_seg.data.coco.categories import class_table, read_categories, to_coco_categories
from unified_seg.data.problems import DataError

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
        written = to_coco_categories(table.classes)
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
