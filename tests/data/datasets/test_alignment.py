"""The same classes with other ids, in another order, or only some of them; and real differences, which are named."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from edited_json import write
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unified_seg.config import ConfigError, get_config
from unified_seg.data.datasets import alignment
from unified_seg.data.datasets.alignment import common_classes, find_class_difference, have_same_ids, load_with_classes
from unified_seg.data.datasets.custom import register_custom
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.pipeline.loaders import load_training_records
from unified_seg.data.resolve import resolve_config
from unified_seg.data.validation.checks import check_datasets, check_record
from unified_seg.evaluation.build import build_evaluators
from unified_seg.structures.class_table import ClassTable, SegmentClass

pytestmark = pytest.mark.usefixtures("forget_datasets")

SIZE = (8, 12)
NAMES = {"grass": False, "hen": True, "cow": True}
# The hen has rows 2 to 4 and columns 3 to 6, the cow row 6; all else is grass.
HEN, COW = (slice(2, 5), slice(3, 7)), (slice(6, 7), slice(0, 12))


def make_yard(root: Path, name: str, ids: dict[str, int], color: int = 0) -> dict[str, dict[str, Any]]:
    """Write a data set of one image whose classes have these ids, in this order; return its entries by ground truth."""
    (root / name / "panoptic").mkdir(parents=True)
    for folder in ("images", "semantic"):
        (root / name / folder).mkdir()
    rng = np.random.default_rng(len(name))
    Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(root / name / "images/a.png")
    labels = np.full(SIZE, ids.get("grass", 255), dtype=np.uint8)
    segments, annotations = [{"id": 1, "category_id": ids.get("grass"), "iscrowd": 0}], []
    panoptic = np.ones((*SIZE, 3), dtype=np.uint8) * [1, 0, 0]
    for number, (thing, window, box) in enumerate((("hen", HEN, [3, 2, 4, 3]), ("cow", COW, [0, 6, 12, 1])), start=2):
        if thing in ids:
            labels[window], panoptic[window] = ids[thing], (number, 0, 0)
            segments.append({"id": number, "category_id": ids[thing], "iscrowd": 0})
            x, y, w, h = box
            mask = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            common = {"id": number, "image_id": 1, "category_id": ids[thing]}
            annotations.append({**common, "bbox": box, "segmentation": mask})
    Image.fromarray(labels).save(root / name / "semantic/a.png")
    Image.fromarray(panoptic.astype(np.uint8)).save(root / name / "panoptic/a.png")
    categories = [{"id": i, "name": n, "isthing": int(NAMES[n]), "color": [color, i, 0]} for n, i in ids.items()]
    images = [{"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}]
    head = {"images": images, "categories": categories}
    truth = [{"image_id": 1, "file_name": "a.png", "segments_info": segments}]
    write(root / name / "panoptic.json", {**head, "annotations": truth})
    write(root / name / "instances.json", {**head, "annotations": annotations})
    write(root / name / "classes.json", categories)
    common = {"NAME": name, "IMAGES": f"{name}/images"}
    return {
        "panoptic": {**common, "PANOPTIC": f"{name}/panoptic.json"},
        "instances": {**common, "INSTANCES": f"{name}/instances.json"},
        "semantic": {**common, "SEMANTIC": f"{name}/semantic", "CLASSES": f"{name}/classes.json"},
        "all": {
            **common,
            "PANOPTIC": f"{name}/panoptic.json",
            "INSTANCES": f"{name}/instances.json",
            "SEMANTIC": f"{name}/semantic",
        },
    }


def describe(record: dict[str, Any], table: ClassTable) -> dict[str, Any]:
    """What a record says, in names: of each segment, annotation and semantic pixel."""
    found: dict[str, Any] = {}
    if "segments_info" in record:
        classes = [table.find_class(s["category_id"], s["isthing"]).name for s in record["segments_info"]]
        found["segments"] = dict(zip([s["id"] for s in record["segments_info"]], classes))
    if "annotations" in record:
        found["annotations"] = {a["id"]: table.things[a["category_id"]].name for a in record["annotations"]}
    if "sem_seg_file_name" in record or "pan_seg_file_name" in record:
        labels = read_semantic_ground_truth(record, table)
        found["pixels"] = {
            n: int((labels == i).sum()) for i, n in enumerate(table.semantic_names) if (labels == i).any()
        }
    return found


VALIDATION: dict[str, dict[str, int]] = {
    "other ids": {"grass": 7, "hen": 30, "cow": 2},
    "another order": {"cow": 40, "grass": 3, "hen": 17},
    "ids of other classes": {"cow": 3, "grass": 17, "hen": 40},
    "some of the classes": {"cow": 3, "grass": 40},
    "a class in the middle is missing": {"grass": 3, "cow": 40},
}


@pytest.mark.parametrize("ground_truth", ["panoptic", "instances", "semantic", "all"])
@pytest.mark.parametrize("case", VALIDATION)
def test_ids_are_mapped_to_the_classes_of_the_model(case: str, ground_truth: str, tmp_path: Path) -> None:
    train = make_yard(tmp_path, "train", {"grass": 3, "hen": 17, "cow": 40})[ground_truth]
    test = make_yard(tmp_path, "test", VALIDATION[case], color=9)[ground_truth]
    register_custom([train, test], tmp_path)
    classes = common_classes(["train"], ["test"])
    own = dataset_classes(MetadataCatalog.get("test"))
    records, table = load_with_classes("test", classes)
    assert have_same_ids(table, classes)
    assert {c.name: c.dataset_id for c in table.classes if c.name in VALIDATION[case]} == VALIDATION[case]
    (expected,) = (describe(record, own) for record in DatasetCatalog.get("test"))
    (found,) = (describe(record, table) for record in records)
    assert found == expected and found
    check_record(records[0], table)


@settings(max_examples=20, deadline=None)
@given(
    order=st.permutations(["grass", "hen", "cow", "dog", "sky"]),
    ids=st.lists(st.integers(0, 250), min_size=5, max_size=5, unique=True),
    count=st.integers(1, 5),
)
def test_any_order_ids_and_choice_of_classes_mean_the_same(order: list[str], ids: list[int], count: int) -> None:
    def table(names: list[str], numbers: list[int]) -> ClassTable:
        classes, things = [], 0
        for semantic_id, (name, number) in enumerate(zip(names, numbers)):
            is_thing = name in ("hen", "cow", "dog")
            classes.append(SegmentClass(name, semantic_id, things if is_thing else None, number, name, (1, 2, 3)))
            things += is_thing
        return ClassTable(classes)

    model, own = table(["sky", "hen", "grass", "dog", "cow"], [1, 2, 3, 4, 5]), table(order[:count], ids)
    assert find_class_difference(own, model) == ""
    name = "unified_test_any_order"
    record = {
        "annotations": [{"category_id": c.thing_id} for c in own.things],
        "segments_info": [{"category_id": c.category_id, "isthing": c.is_thing} for c in own.classes],
        "sem_seg_file_name": "x",
        "sem_seg_values": {c.dataset_id: c.semantic_id for c in own.classes} | {255: 255},
    }
    DatasetCatalog.register(name, lambda: [record])
    MetadataCatalog.get(name).set(**own.to_metadata())
    try:
        (mapped,), aligned = load_with_classes(name, model)
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    assert [aligned.things[a["category_id"]].name for a in mapped["annotations"]] == [c.name for c in own.things]
    found = [aligned.find_class(s["category_id"], s["isthing"]).name for s in mapped["segments_info"]]
    assert found == [c.name for c in own.classes]
    assert {v: model.semantic_names[s] for v, s in mapped["sem_seg_values"].items() if s != 255} == {
        c.dataset_id: c.name for c in own.classes
    }
    assert len({c.dataset_id for c in aligned.classes}) == 5


DIFFERENT: dict[str, tuple[dict[str, int], dict[str, bool], str]] = {
    "an unknown class": (
        {"grass": 1, "hem": 2},
        {"hem": True},
        "'hem' is not among grass, hen, cow; did you mean 'hen'",
    ),
    "stuff for a thing": ({"grass": 1, "hen": 2}, {"hen": False}, "'hen' is stuff, but a thing"),
    "a thing for stuff": ({"grass": 1, "hen": 2}, {"grass": True}, "'grass' is a thing, but stuff"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_real_differences_are_named(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, kinds, message = DIFFERENT[case]
    train = make_yard(tmp_path, "train", {"grass": 3, "hen": 17, "cow": 40})["panoptic"]
    for name, is_thing in kinds.items():
        monkeypatch.setitem(NAMES, name, is_thing)
    test = make_yard(tmp_path, "test", ids)["panoptic"]
    register_custom([train, test], tmp_path)
    with pytest.raises(ConfigError, match=rf"'train' and 'test' have different classes: in 'test' {message}"):
        common_classes(["train"], ["test"])
    with pytest.raises(ConfigError, match="'test' and the model have different classes"):
        load_with_classes("test", dataset_classes(MetadataCatalog.get("train")))


def test_training_check_and_evaluation_use_the_classes_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    cfg = get_config()
    first = make_yard(tmp_path, "first", {"grass": 3, "hen": 17, "cow": 40})["panoptic"]
    second = make_yard(tmp_path, "second", {"cow": 3, "grass": 40})["panoptic"]
    cfg.DATASETS.CUSTOM, cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = [first, second], ("first", "second"), ("second",)
    cfg = resolve_config(cfg)
    assert "training set 'second' does not have all classes of 'first': hen are missing" in caplog.text
    assert cfg.MODEL.SEM_SEG_HEAD.CLASS_NAMES == ["grass", "hen", "cow"]
    check_datasets(cfg)
    classes = dataset_classes(MetadataCatalog.get("first"))
    found = [describe(record, classes)["segments"] for record in load_training_records(cfg)]
    assert found == [{1: "grass", 2: "hen", 3: "cow"}, {1: "grass", 3: "cow"}]
    evaluators = build_evaluators(cfg, "second", tmp_path)._evaluators
    assert evaluators and all(have_same_ids(e.table, classes) for e in evaluators)
    assert {c.name: c.dataset_id for c in evaluators[0].table.classes if c.name != "hen"} == {"grass": 40, "cow": 3}


@pytest.fixture
def other() -> Iterator[str]:
    name = "unified_test_other_classes"
    DatasetCatalog.register(name, lambda: [])
    MetadataCatalog.get(name).set(stuff_classes=["grass", "cow"], thing_classes=["cow"])
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_data_sets_registered_elsewhere_are_mapped_too(other: str, tmp_path: Path) -> None:
    test = make_yard(tmp_path, "test", {"cow": 3, "grass": 40})["semantic"]
    register_custom([test], tmp_path)
    (record,), table = load_with_classes("test", common_classes([other], ["test"]))
    assert table.semantic_names == ["grass", "cow"] and describe(record, table)["pixels"] == {"grass": 84, "cow": 12}


def test_unknown_data_set_is_named_with_its_key_and_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"DATASETS\.TEST: .*'unified_toyscape_train'.*unified_toyscapes"):
        common_classes(["unified_voc2012_train"], ["unified_toyscape_train"])


def test_records_are_built_once_while_they_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr(alignment, "DatasetCatalog", SimpleNamespace(get=lambda name: built.append(name) or [name]))
    with alignment.share_records():
        first = alignment._get_records("a")
        with alignment.share_records():
            assert alignment._get_records("a") is first and alignment._get_records("b") == ["b"]
        assert alignment._get_records("b") == ["b"] and built == ["a", "b"]
    assert alignment._get_records("a") is not first and built == ["a", "b", "a"]
