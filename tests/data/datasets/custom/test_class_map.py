"""Classes that are merged, renamed, dropped and ignored, against a mapping of each pixel by its class's name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from edited_json import write
from PIL import Image
from pycocotools import mask as mask_util

from unified_seg.config import ConfigError
from unified_seg.data.coco.panoptic_segments import read_segments
from unified_seg.data.datasets.custom import register_custom
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.validation.checks import check_record
from unified_seg.evaluation.instances import InstanceEvaluator
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.ground_truth_outputs import read_ground_truth

pytestmark = pytest.mark.usefixtures("forget_datasets")

SIZE = (24, 32)
NAME = "streets_train"
# The id is ten times the place.
STUFF, THINGS = ["road", "sidewalk", "sky"], ["car", "van", "truck", "rider", "dog"]
NAMES = [*STUFF, *THINGS]
CATEGORIES = [{"id": 10 * i, "name": name, "isthing": int(name in THINGS)} for i, name in enumerate(NAMES, 1)]
MAP = {
    "MERGE": {"flat": ["road", "sidewalk"], "car": ["van", "truck"]},
    "RENAME": {"rider": "person"},
    "DROP": ["sky"],
    "IGNORE": ["dog"],
}
EXPECTED = {"road": "flat", "sidewalk": "flat", "sky": None, "car": "car", "van": "car", "truck": "car"}
EXPECTED |= {"rider": "person", "dog": None}
MAPPED = [("flat", 0, None, 10), ("car", 1, 0, 40), ("person", 2, 1, 70)]
PANOPTIC = {"PANOPTIC": "panoptic.json"}
INSTANCES = {"INSTANCES": "instances.json"}
SEMANTIC = {"SEMANTIC": "semantic", "CLASSES": "classes.yaml", "IGNORE": [0]}


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    """Two images with rectangles of every class, in all three ground truths."""
    rng = np.random.default_rng(0)
    entries, annotations, objects = [], [], []
    for folder in ("images", "panoptic", "semantic"):
        (tmp_path / folder).mkdir()
    for index in range(2):
        ids, classes, segments = np.zeros(SIZE, np.int64), np.zeros(SIZE, np.int64), []
        ids[:8], ids[8:16], ids[16:23] = 1, 2, 3
        classes[:8], classes[8:16], classes[16:23] = 30, 10, 20
        for number, category in enumerate(rng.permutation(np.repeat([40, 50, 60, 70, 80], 2)).tolist(), 4):
            top, left = rng.integers(0, SIZE[0] - 6), rng.integers(0, SIZE[1] - 6)
            ids[top : top + 5, left : left + 6], classes[top : top + 5, left : left + 6] = number, category
        for number in [i for i in np.unique(ids).tolist() if i]:
            mask = ids == number
            category = int(classes[mask][0])
            segments.append({"id": number, "category_id": category, "area": int(mask.sum()), "iscrowd": 0})
            if category >= 40:
                rle = mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))
                box = mask_util.toBbox(rle).tolist()
                rle = {"size": rle["size"], "counts": rle["counts"].decode()}
                number = len(objects)
                objects.append(
                    {"id": number, "image_id": index, "category_id": category, "bbox": box, "segmentation": rle}
                )
        name = f"{index}.png"
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "images" / name)
        Image.fromarray(classes.astype(np.uint8)).save(tmp_path / "semantic" / name)
        Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], -1).astype(np.uint8)).save(tmp_path / "panoptic" / name)
        entries.append({"id": index, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        annotations.append({"image_id": index, "file_name": name, "segments_info": segments})
    write(tmp_path / "panoptic.json", {"images": entries, "annotations": annotations, "categories": CATEGORIES})
    write(tmp_path / "instances.json", {"images": entries, "annotations": objects, "categories": CATEGORIES})
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump(CATEGORIES))
    return tmp_path


def load(streets: Path, class_map: dict[str, Any], **more: Any) -> tuple[list[dict[str, Any]], ClassTable]:
    DatasetCatalog.pop(NAME, None)
    MetadataCatalog.pop(NAME, None)
    register_custom([{"NAME": NAME, "IMAGES": "images", "CLASS_MAP": class_map, **more}], streets)
    return DatasetCatalog.get(NAME), dataset_classes(MetadataCatalog.get(NAME))


def read_names(record: dict[str, Any], table: ClassTable) -> np.ndarray:
    """Return (H, W) the name of the class of each pixel, "" for void."""
    names = np.array([*table.semantic_names, ""])
    labels = read_semantic_ground_truth(record, table)
    return names[np.where(labels == table.ignore_label, len(names) - 1, labels)]


@pytest.mark.parametrize("more", [PANOPTIC, SEMANTIC, {**INSTANCES, **SEMANTIC}], ids=["panoptic", "semantic", "both"])
def test_pixels_have_the_mapped_classes(streets: Path, more: dict[str, Any]) -> None:
    before = [read_names(record, table) for records, table in [load(streets, {}, **more)] for record in records]
    records, table = load(streets, MAP, **more)
    assert [(c.name, c.semantic_id, c.thing_id, c.dataset_id) for c in table.classes] == MAPPED
    for record, names in zip(records, before):
        expected = np.vectorize(lambda name: EXPECTED.get(name) or "")(names)
        assert (read_names(record, table) == expected).all()
        check_record(record, table, pytest.fail)


def test_segments_of_one_stuff_class_become_one_and_others_void(streets: Path) -> None:
    (plain, source), (mapped, table) = load(streets, {}, **PANOPTIC), load(streets, MAP, **PANOPTIC)
    for before, after in zip(plain, mapped):
        (ids, segments), (new_ids, new_segments) = read_segments(before, source), read_segments(after, table)
        assert [s.cls.name for s in new_segments].count("flat") == 1
        things = {s.id: EXPECTED[s.cls.name] for s in segments if s.cls.is_thing and EXPECTED[s.cls.name]}
        assert {s.id: s.cls.name for s in new_segments if s.cls.is_thing} == things
        names = {s.id: EXPECTED[s.cls.name] for s in segments}
        assert {i: names.get(i) is None for i in np.unique(ids).tolist()} == {
            i: bool((new_ids[ids == i] == 0).all()) for i in np.unique(ids).tolist()
        }
        assert all(s.area == (new_ids == s.id).sum() for s in new_segments)


def test_ground_truth_as_prediction_is_perfect_in_the_mapped_classes(streets: Path, tmp_path: Path) -> None:
    records, table = load(streets, MAP, **PANOPTIC)
    evaluator = PanopticEvaluator(table, records, tmp_path / "scores")
    evaluator.reset()
    for record in records:
        evaluator.process([record], [read_ground_truth(record, table)])
    scores = evaluator.evaluate()["panoptic_seg"]
    assert {name: scores[f"PQ-{name}"] for name, *_ in MAPPED} == {"flat": 100, "car": 100, "person": 100}


def test_objects_are_mapped_dropped_and_ignored(streets: Path) -> None:
    (plain, source), (mapped, table) = load(streets, {}, **INSTANCES), load(streets, MAP, **INSTANCES)
    assert [c.name for c in table.things] == ["car", "person"]
    for before, after in zip(plain, mapped):
        names = [source.things[a["category_id"]].name for a in before["annotations"]]
        objects = [a for a in after["annotations"] if not a["iscrowd"]]
        kept = [EXPECTED[name] for name in names if EXPECTED[name]]
        assert [table.things[a["category_id"]].name for a in objects] == kept
        regions = [a["category_id"] for a in after["annotations"] if a["iscrowd"]]
        assert sorted(regions) == sorted([0, 1] * names.count("dog"))
        check_record(after, table, pytest.fail)


def test_a_detection_in_an_ignored_region_is_no_error(streets: Path, tmp_path: Path) -> None:
    average = {}
    others = ["van", "truck", "rider"]
    predicted, predicted_table = load(streets, {"MERGE": {"car": ["dog"]}, "DROP": others}, **INSTANCES)
    for key, class_map in {"IGNORE": {"DROP": others, "IGNORE": ["dog"]}, "DROP": {"DROP": [*others, "dog"]}}.items():
        records, table = load(streets, class_map, **INSTANCES)
        evaluator = InstanceEvaluator(table, records, tmp_path / key)
        evaluator.reset()
        for record, prediction in zip(records, predicted):
            output = read_ground_truth(prediction, predicted_table)
            output["instances"].scores = torch.linspace(1, 0.5, len(output["instances"]))
            evaluator.process([record], [output])
        average[key] = evaluator.evaluate()["segm"]["AP-car"]
    assert average["IGNORE"] == pytest.approx(100) and average["DROP"] < 99


@pytest.mark.parametrize(
    ("class_map", "message"),
    [
        ({"DROP": ["trcuk"]}, r"CLASS_MAP\.DROP: unknown class 'trcuk'; did you mean truck"),
        ({"MERGE": {"flat": ["zebra"]}}, r"CLASS_MAP\.MERGE: unknown class 'zebra'; the classes are road, "),
        ({"DROP": ["car"], "IGNORE": ["car"]}, r"CLASS_MAP\.IGNORE: the class 'car' is named twice"),
        ({"RENAME": {"van": "car"}}, r"CLASS_MAP\.RENAME: 'van' can't become 'car'.*MERGE"),
        ({"MERGE": {"x": ["road", "car"]}}, r"CLASS_MAP\.MERGE: x: .*road \(stuff\), car \(thing\)"),
        ({"DROP": NAMES}, "CLASS_MAP: no class is left"),
        ({"DELETE": ["car"]}, "unknown key DELETE"),
    ],
)
def test_wrong_maps_are_errors_that_name_the_entry(streets: Path, class_map: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"DATASETS\.CUSTOM: {NAME}: .*{message}"):
        load(streets, class_map, **PANOPTIC)


def test_a_map_needs_classes(streets: Path) -> None:
    with pytest.raises(ConfigError, match="CLASS_MAP: the data set has no classes"):
        load(streets, MAP)
