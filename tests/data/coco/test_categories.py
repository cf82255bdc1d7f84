"""Categories in COCO's form, of JSON and YAML files."""

import json
from pathlib import Path
from typing import Any

import pytest
from three_classes import CAR, SKY, TABLE, TRUCK

from unified_seg.data.coco.categories import build_class_table, read_categories, read_classes, to_coco_categories
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

    def test_classes_of_a_supercategory_are_one_category(self, tmp_path: Path):
        table = read_categories(write(tmp_path, self.records), use_supercategories=True)
        assert [c.category for c in table.classes] == ["sky", "vehicle", "vehicle"]

    def test_classes_of_one_name_are_categories_apart(self, tmp_path: Path):
        records = [{**record, "name": "car"} for record in self.records]
        table = read_categories(write(tmp_path, records), use_supercategories=False)
        assert table.semantic_names == ["car"] * 3
        assert table.category_of.tolist() == [0, 1, 2]

    def test_colors_have_defaults_and_supercategories_have_none(self, tmp_path: Path):
        bare = [{key: record[key] for key in ("id", "name", "isthing")} for record in self.records]
        table = read_categories(write(tmp_path, bare), use_supercategories=False)
        assert len({c.color for c in table.classes}) == 3
        with pytest.raises(DataError, match=r"file\.json: record 0: supercategory must be str, got None"):
            read_categories(write(tmp_path, bare), use_supercategories=True)

    @pytest.mark.parametrize(
        ("color", "expected"),
        [
            ([1, 2, 3], (1, 2, 3)),
            ([1.0, 2.0, 3.0, 255], (1, 2, 3)),
            ("#0102fF", (1, 2, 255)),
            ("#0102ff80", (1, 2, 255)),
            ("#f0a", (255, 0, 170)),
        ],
    )
    def test_colors_have_several_forms(self, color: object, expected: tuple[int, int, int]):
        assert build_class_table(FILE, [{"id": 1, "name": "cat", "color": color}]).classes[0].color == expected

    @pytest.mark.parametrize("color", [None, "", "red", [0.5, 0.1, 1], [1, 2], [1, 2, 256], "#12345", [True, 0, 0], {}])
    def test_what_is_no_color_does_not_matter_unless_it_is_required(self, color: object):
        categories = [{"id": 1, "name": "cat", "color": color}]
        default = build_class_table(FILE, [{"id": 1, "name": "cat"}])
        assert build_class_table(FILE, categories).classes == default.classes
        if color:
            with pytest.raises(DataError, match=r"record 0: color must be"):
                build_class_table(FILE, categories, require_colors=True)

    def test_numbers_are_names(self, tmp_path: Path):
        assert build_class_table(FILE, [{"id": 1, "name": 7}]).classes[0].name == "7"
        (tmp_path / "classes.yaml").write_text("[7, 8]")
        assert [c.name for c in read_classes(tmp_path / "classes.yaml").classes] == ["7", "8"]
        (tmp_path / "classes.yaml").write_text("[yes, no]")
        with pytest.raises(DataError, match=r"classes\.yaml: record 0: true .* in quotes"):
            read_classes(tmp_path / "classes.yaml")

    def test_without_isthing_all_classes_are_things(self):
        table = build_class_table(FILE, [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}], use_supercategories=False)
        assert [(c.name, c.thing_id, c.dataset_id) for c in table.classes] == [("cat", 0, 3), ("dog", 1, 1)]

    def test_written_categories_are_read_as_they_were(self):
        table = build_class_table(FILE, [*self.records], use_supercategories=True)
        written = to_coco_categories(table.classes)
        # Sky is its own category; of the vehicles it must be written.
        assert [c.get("supercategory") for c in written] == [None, "vehicle", "vehicle"]
        assert build_class_table(FILE, written).classes == table.classes

    @pytest.mark.parametrize("supercategory", ["", "none", None, "everything"])
    def test_one_supercategory_of_all_classes_is_ignored(self, supercategory: str | None):
        """Annotation tools write one for users who have no supercategories."""
        categories = [{"id": i, "name": name, "supercategory": supercategory} for i, name in enumerate("abc")]
        assert [c.category for c in build_class_table(FILE, categories).classes] == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("categories", "message"),
        [
            (None, "no categories"),
            ([{"id": 1}], "record 0: name is missing"),
            ([{"id": 1, "name": "a", "isthing": 2}], "record 0: isthing must be int <= 1, got 2"),
            ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "dataset ids must be unique"),
            ([{"id": 1, "name": " "}], "record 0: name is empty"),
            ([], "a class table needs at least one class"),
        ],
    )
    def test_wrong_categories_are_named(self, categories: Any, message: str):
        with pytest.raises(DataError, match=rf"file\.json: {message}"):
            build_class_table(FILE, categories, use_supercategories=False)


class TestClasses:
    def read(self, folder: Path, text: str) -> list[tuple[str, int, bool]]:
        (folder / "c.yaml").write_text(text)
        return [(c.name, c.dataset_id, c.is_thing) for c in read_classes(folder / "c.yaml").classes]

    def test_ids_of_names_count_from_0(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "[road, car]") == [("road", 0, False), ("car", 1, False)]

    def test_names_and_full_records_can_be_mixed(self, tmp_path: Path) -> None:
        text = "categories:\n  - road\n  - {name: car, id: 26, isthing: true}\n"
        assert self.read(tmp_path, text) == [("road", 0, False), ("car", 26, True)]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("!!python/object/apply:os.system [ls]", "not readable as plain YAML"),
            ("road", "expected a list of records, got str"),
            ("[road, yes]", "record 1: true is no name"),
            ("[{name: yes}]", "record 0: name must be str, got True"),
            ("[a, {name: b, id: 0}]", "dataset ids must be unique"),
            ("[", "not readable as plain YAML"),
            ("&a [x, *a]", r"not readable as plain YAML: .*\*a is a part of"),
            ("[{name: a, is_thing: 1}]", "record 0: unknown key 'is_thing'; a class has id, name, "),
        ],
    )
    def test_wrong_lists_of_classes_are_named(self, text: str, message: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=rf"c\.yaml: {message}"):
            self.read(tmp_path, text)

    @pytest.mark.parametrize("suffix", ["json", "yaml"])
    def test_byte_order_marks_are_skipped(self, suffix: str, tmp_path: Path) -> None:
        file = tmp_path / f"c.{suffix}"
        file.write_text('[{"name": "road", "id": 3, "isthing": 0}]', encoding="utf-8-sig")
        assert [(c.name, c.dataset_id, c.is_thing) for c in read_classes(file).classes] == [("road", 3, False)]

    def test_absent_files_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"c\.yaml: there is no such file"):
            read_classes(tmp_path / "c.yaml")


CATS = [{"id": 1, "name": "cat", "supercategory": "pets"}, {"id": 2, "name": "dog", "supercategory": "pets"}]


class TestRootCategory:
    """Roboflow's first category is above all others and no annotation uses it."""

    def read(self, folder: Path, root: dict[str, Any], others: Any = None, **more: Any) -> list[tuple[str, str]]:
        content = {"categories": [root, *(others or CATS)], "annotations": [], **more}
        (folder / "r.json").write_text(json.dumps(content))
        return [(c.name, c.category) for c in read_classes(folder / "r.json").classes]

    @pytest.mark.parametrize("none", ["none", "", None])
    def test_unused_root_is_no_class_and_the_others_are_not_alike(self, none: Any, tmp_path: Path) -> None:
        root = {"id": 0, "name": "pets", "supercategory": none}
        assert self.read(tmp_path, root) == [("cat", "cat"), ("dog", "dog")]

    def test_root_may_have_the_name_of_a_class(self, tmp_path: Path) -> None:
        cat = [{"id": 1, "name": "cat", "supercategory": "cat"}]
        assert self.read(tmp_path, {"id": 0, "name": "cat", "supercategory": "none"}, cat) == [("cat", "cat")]

    @pytest.mark.parametrize(
        "annotation", [{"category_id": 0}, {"category_id": 0.0}, {"segments_info": [{"category_id": 0}]}]
    )
    def test_used_root_is_a_class(self, annotation: dict[str, Any], tmp_path: Path) -> None:
        found = self.read(tmp_path, {"id": 0, "name": "pets", "supercategory": "none"}, annotations=[annotation])
        assert found == [("pets", "pets"), ("cat", "cat"), ("dog", "dog")]

    def test_it_is_told_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(2):
            self.read(tmp_path, {"id": 0, "name": "pets", "supercategory": "none"})
        assert len([r for r in caplog.records if "'pets' is above all others" in r.message]) == 1

    def test_groups_below_no_root_stay(self, tmp_path: Path) -> None:
        sky = {"id": 0, "name": "sky", "supercategory": "none"}
        assert self.read(tmp_path, sky) == [("sky", "sky"), ("cat", "pets"), ("dog", "pets")]
