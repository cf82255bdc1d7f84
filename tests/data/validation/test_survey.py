"""Every kind of problem in a hand-drawn data set, one at a time: found once, with its file and record."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from edited_json import edit, write
from PIL import Image

from unified_seg.data.datasets.custom import register_custom
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.problems import KINDS, DataError, Problem, raise_error
from unified_seg.data.validation import survey
from unified_seg.data.validation.survey import Survey, convert_surveys_to_json, survey_datasets

pytestmark = pytest.mark.usefixtures("forget_datasets")

SIZE = (8, 12)
GRASS, HEN = 3, 17
CATEGORIES = [{"id": GRASS, "name": "grass", "isthing": 0}, {"id": HEN, "name": "hen", "isthing": 1}]
GROUND_TRUTHS: dict[str, dict[str, Any]] = {
    "panoptic": {"PANOPTIC": "panoptic.json"},
    "instances": {"INSTANCES": "instances.json"},
    "semantic": {"SEMANTIC": "semantic", "CLASSES": "classes.yaml", "IGNORE": [0]},
}


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    """one.png and two.jpg, with all three ground truths: a hen of 3 x 4 pixels on grass, under a row of void."""
    folders = [tmp_path / name for name in ("images", "panoptic", "semantic")]
    for folder in folders:
        folder.mkdir()
    images, pngs, semantic = folders
    labels = np.full(SIZE, GRASS, dtype=np.uint8)
    labels[0] = 0
    labels[2:5, 3:7] = HEN
    entries, annotations, hens = [], [], []
    for index, name in enumerate(("one.png", "two.jpg")):
        pixels = np.random.default_rng(index).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / name)
        png = f"{name[:3]}.png"
        Image.fromarray(labels).save(semantic / png)
        Image.fromarray(np.stack([labels, 0 * labels, 0 * labels], axis=-1)).save(pngs / png)
        entries.append({"id": index, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        segments = [{"id": i, "category_id": i, "area": int((labels == i).sum()), "iscrowd": 0} for i in (GRASS, HEN)]
        annotations.append({"image_id": index, "file_name": png, "segments_info": segments})
        polygon = [3, 2, 7, 2, 7, 5, 3, 5]
        hen = {"id": index, "image_id": index, "category_id": HEN, "bbox": [3, 2, 4, 3], "segmentation": [polygon]}
        hens.append(hen)
    write(tmp_path / "panoptic.json", {"images": entries, "annotations": annotations, "categories": CATEGORIES})
    write(tmp_path / "instances.json", {"images": entries, "annotations": hens, "categories": CATEGORIES[1:]})
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump(CATEGORIES))
    return tmp_path


def paint(file: Path, value: int, where: int | None = None) -> None:
    """Replace one value of a label, or all."""
    with Image.open(file) as image:
        labels = np.array(image)
    labels[(labels == where) if where is not None else ...] = value
    Image.fromarray(labels).save(file)


def make_hens_255(yard: Path) -> None:
    for name in ("one", "two"):
        paint(yard / f"semantic/{name}.png", 255, HEN)
        paint(yard / f"semantic/{name}.png", 255, 0)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def turn(file: Path) -> None:
    with Image.open(file) as image:
        exif = image.getexif()
        exif[0x0112] = 3
        image.save(file, exif=exif)


def every_hen(yard: Path, **more: Any) -> None:
    edit(yard / "panoptic.json", lambda c: [a["segments_info"][1].update(more) for a in c["annotations"]])


def hen(yard: Path, **more: Any) -> None:
    edit(yard / "instances.json", lambda c: c["annotations"][0].update(more))


def segment(yard: Path, **more: Any) -> None:
    edit(yard / "panoptic.json", lambda c: c["annotations"][0]["segments_info"][1].update(more))


# kind -> (ground truth, what spoils it, the file that is named, the record that is)
DAMAGED: dict[str, tuple[str, Callable[[Path], object], str, str]] = {
    "missing-file": ("panoptic", lambda y: (y / "images/one.png").unlink(), "images/one.png", ""),
    "unreadable": ("panoptic", lambda y: cut(y / "images/two.jpg"), "images/two.jpg", ""),
    "format": ("instances", lambda y: hen(y, bbox="x"), "instances.json", "annotations record 0"),
    "path": (
        "panoptic",
        lambda y: edit(y / "panoptic.json", lambda c: c["images"][0].update(file_name="../one.png")),
        "panoptic.json",
        "image 0",
    ),
    "duplicate": ("instances", lambda y: hen(y, id=1), "instances.json", "annotations record 1"),
    "missing-ground-truth": ("semantic", lambda y: (y / "semantic/two.png").unlink(), "images/two.jpg", ""),
    "class": ("instances", lambda y: hen(y, category_id=99), "instances.json", "annotations record 0"),
    "size": ("semantic", lambda y: Image.new("L", (5, 5), GRASS).save(y / "semantic/one.png"), "semantic/one.png", ""),
    "orientation": ("panoptic", lambda y: turn(y / "images/two.jpg"), "images/two.jpg", ""),
    "label-id": ("semantic", lambda y: paint(y / "semantic/one.png", 77), "semantic/one.png", ""),
    "segments": (
        "panoptic",
        lambda y: edit(
            y / "panoptic.json", lambda c: c["annotations"][0]["segments_info"].append({"id": 9, "category_id": HEN})
        ),
        "panoptic/one.png",
        "",
    ),
    "area": ("panoptic", lambda y: segment(y, area=11), "panoptic/one.png", f"segment {HEN}"),
    "mask": ("instances", lambda y: hen(y, segmentation=[[1, 1, 2, 2]]), "images/one.png", "annotation 0"),
    "box": ("instances", lambda y: hen(y, bbox=[3, 2, -4, 3]), "instances.json", "annotations record 0"),
    "no-area": ("instances", lambda y: hen(y, bbox=[3, 2, 4, 0]), "instances.json", "annotations record 0"),
    "box-outside": ("instances", lambda y: hen(y, bbox=[3, 2, 40, 3]), "images/one.png", "annotation 0"),
    "plain-value": ("instances", lambda y: hen(y, iscrowd=None), "instances.json", "annotations record 0"),
    "empty-class": (
        "panoptic",
        lambda y: edit(y / "panoptic.json", lambda c: c["categories"].append({"id": 1, "name": "cow", "isthing": 1})),
        "panoptic.json",
        "class 'cow'",
    ),
    "crowd-class": ("panoptic", lambda y: every_hen(y, iscrowd=1), "panoptic.json", "class 'hen'"),
    "undefined-score": (
        "instances",
        lambda y: edit(y / "instances.json", lambda c: c["annotations"].clear()),
        "instances.json",
        "",
    ),
    "void": ("default void", lambda y: make_hens_255(y), "classes.yaml", ""),
    "no-label": ("semantic", lambda y: paint(y / "semantic/one.png", 0), "images/one.png", ""),
    "unsupported": ("panoptic", lambda y: add_band(y / "images/one.png"), "images/one.png", ""),
    "value-range": ("panoptic", lambda y: make_dark(y / "images/one.png"), "images/one.png", ""),
    "same-image": (
        "panoptic",
        lambda y: shutil.copy(y / "images/one.png", y / "images/two.jpg"),
        "images/two.jpg",
        "",
    ),
}


def make_dark(file: Path) -> None:
    """Values of 0 to 20, which are 8 % of those that a byte has."""
    Image.fromarray(np.random.default_rng(0).integers(0, 21, (*SIZE, 3), dtype=np.uint8)).save(file)


def add_band(file: Path) -> None:
    """Write a TIFF of red, green, blue and a fourth band that is not alpha."""
    cv2.imwrite(str(file.with_suffix(".tif")), np.zeros((*SIZE, 4), dtype=np.uint8))
    file.with_suffix(".tif").rename(file)


def of_yard(yard: Path, ground_truth: str, name: str = "yard") -> Survey:
    keys = {**GROUND_TRUTHS, "default void": {"SEMANTIC": "semantic", "CLASSES": "classes.yaml"}}[ground_truth]
    register_custom([{"NAME": name, "IMAGES": "images", **keys}], yard)
    (found,) = survey_datasets([name], workers=0)
    return found


def register(name: str, like: str, load: Callable[[], Any]) -> None:
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(**{k: v for k, v in MetadataCatalog.get(like).as_dict().items() if k != "name"})


@pytest.mark.parametrize("ground_truth", GROUND_TRUTHS)
def test_correct_data_sets_have_no_problem(ground_truth: str, yard: Path) -> None:
    found = of_yard(yard, ground_truth)
    assert found.problems == [] and len(found.records) == 2


def test_every_kind_of_problem_is_tested() -> None:
    assert set(DAMAGED) == set(KINDS)


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_problem_is_found_once_with_file_and_record(kind: str, yard: Path) -> None:
    ground_truth, spoil, file, record = DAMAGED[kind]
    spoil(yard)
    found = of_yard(yard, ground_truth)
    assert [(p.kind, p.file, p.record) for p in found.problems] == [(kind, str(yard / file), record)]
    assert (found.num_errors, found.num_warnings) == ((1, 0) if KINDS[kind].is_error else (0, 1))


@pytest.mark.parametrize("ground_truth", ["semantic", "instances"])
def test_cause_of_an_undefined_score_is_reported_once(ground_truth: str, yard: Path) -> None:
    for name in ("one", "two"):
        paint(yard / f"semantic/{name}.png", 0)
    edit(yard / "instances.json", lambda content: content["annotations"].clear())
    found = of_yard(yard, ground_truth)
    assert [p.kind for p in found.problems if p.kind != "no-label"] == ["undefined-score"]
    assert found.statistics.void_share == (1 if ground_truth == "semantic" else None)


def test_void_share_is_counted(yard: Path) -> None:
    assert of_yard(yard, "semantic").statistics.void_share == pytest.approx(1 / 8)


def test_truncated_pngs_are_reported(yard: Path) -> None:
    cut(yard / "images/one.png")
    assert [(p.kind, Path(p.file).name) for p in of_yard(yard, "panoptic").problems] == [("unreadable", "one.png")]


def test_invalid_annotation_files_are_reported(yard: Path) -> None:
    register_custom([{"NAME": "yard", "IMAGES": "images", **GROUND_TRUTHS["panoptic"]}], yard)
    (yard / "panoptic.json").write_text("{")
    (found,) = survey_datasets(["yard"], workers=0)
    (problem,) = found.problems
    assert (problem.kind, problem.file, found.records) == ("format", str(yard / "panoptic.json"), [])


def test_training_images_in_the_test_set_are_reported(yard: Path, tmp_path: Path) -> None:
    shutil.copytree(yard, tmp_path / "test")
    (tmp_path / "test/images/two.jpg").rename(tmp_path / "test/images/three.jpg")
    edit(tmp_path / "test/panoptic.json", lambda c: c["images"][1].update(file_name="three.jpg"))
    register_custom([{"NAME": "yard", "IMAGES": "images", **GROUND_TRUTHS["panoptic"]}], yard)
    register_custom([{"NAME": "test", "IMAGES": "images", **GROUND_TRUTHS["panoptic"]}], tmp_path / "test")
    register_custom([{"NAME": "same files", "IMAGES": "images", **GROUND_TRUTHS["panoptic"]}], yard)
    train, test, same_files = survey_datasets(["yard", "test", "same files"], workers=0)
    assert train.problems == []
    assert test.problems == [
        Problem(
            "same-image", str(tmp_path / "test/images" / copy), f"its pixels are those of {image} of data set 'yard'"
        )
        for copy, image in (("one.png", yard / "images/one.png"), ("three.jpg", yard / "images/two.jpg"))
    ]
    assert [p.cause for p in same_files.problems] == ["it is in data set 'yard' and in 'same files'"] * 2


def test_repeated_records_are_reported(tiny_dataset: Any) -> None:
    zero, one, two, three = (dict(record) for record in DatasetCatalog.get(tiny_dataset.train))
    two["file_name"] = one["file_name"]
    records = [zero, one, two, three, dict(zero)]
    register("twice", tiny_dataset.train, lambda: records)
    (found,) = survey_datasets(["twice"], workers=0)
    assert [p for p in found.problems if p.kind != "empty-class"] == [
        Problem("duplicate", zero["file_name"], f"its image id {zero['image_id']!r} is in data set 'twice' twice"),
        Problem("duplicate", one["file_name"], f"the images {one['image_id']!r} and {two['image_id']!r} both have it"),
    ]


def test_repeated_annotation_ids_are_reported(tiny_dataset: Any) -> None:
    zero, one = (dict(record) for record in DatasetCatalog.get(tiny_dataset.train)[:2])
    box = {"category_id": 0, "bbox": [1, 1, 9, 9], "bbox_mode": BoxMode.XYXY_ABS}
    zero["annotations"], one["annotations"] = [{**box, "id": 4}, box, box], [{**box, "id": 4}]
    register("twice", tiny_dataset.train, lambda: [zero, one])
    (found,) = survey_datasets(["twice"], workers=0)
    duplicates = [p for p in found.problems if p.kind == "duplicate"]
    assert [(p.file, p.record) for p in duplicates] == [(one["file_name"], "annotation 4")]


def test_damaged_instance_id_maps_are_reported(tiny_dataset: Any, tmp_path: Path) -> None:
    record = {**DatasetCatalog.get(tiny_dataset.train)[0], "instance_ids_file_name": str(tmp_path / "ids.png")}
    register("damaged", tiny_dataset.train, lambda: [record])
    (tmp_path / "ids.png").write_text("none")
    (found,) = survey_datasets(["damaged"], workers=0)
    errors = [(p.kind, p.file) for p in found.problems if p.is_error]
    assert errors == [("unreadable", str(tmp_path / "ids.png"))]


def fail_at_a_record() -> None:
    raise_error(Problem("class", "a.json", "its category_id 9 is no class", "record 3"))


def fail_at_a_file() -> None:
    raise FileNotFoundError(2, "No such file or directory", "/gone.json")


# name -> (the loader, the problem)
LOADERS: dict[str, tuple[Callable[[], Any], Problem]] = {
    "an error": (fail_at_a_record, Problem("class", "a.json", "record 3: its category_id 9 is no class")),
    "no file": (fail_at_a_file, Problem("missing-file", "/gone.json", "there is no such file")),
    "no record": (lambda: [], Problem("format", "loaded", "the data set has no records")),
    "other records": (
        lambda: [{"file_name": "a", "image_id": 1}],
        Problem("format", "loaded", "records without height, width"),
    ),
}


@pytest.mark.parametrize("name", LOADERS)
def test_data_sets_that_fail_to_load_are_reported(name: str, tiny_dataset: Any) -> None:
    load, problem = LOADERS[name]
    register("loaded", tiny_dataset.train, load)
    (found,) = survey_datasets(["loaded"], workers=0)
    assert (found.records, found.problems) == ([], [problem])


def test_segments_are_measured(tiny_dataset: Any) -> None:
    (found,) = survey_datasets([tiny_dataset.train], workers=0)
    statistics = found.statistics
    classes = {c.name: (c.pixels, c.images, c.instances, c.crowds) for c in statistics.classes}
    # Cars of 20 x 30 and 16 x 24 in image 0, the second again in image 1 with a bicycle of 18 x 14; persons of 30 x 10
    # in image 0, and in image 3 as a crowd.
    assert classes["car"] == (600 + 384 + 384, 2, 3, 0)
    assert classes["person"] == (300 + 300, 2, 1, 1)
    assert classes["bicycle"] == (252, 1, 1, 0)
    assert classes["bus"] == (0, 0, 0, 0) and classes["wall"] == (0, 0, None, None)
    assert classes["road"][1:] == (4, None, None)
    assert statistics.image_sizes == {(64, 128): 4}
    sizes = [(252, 18, 14), (300, 30, 10), (384, 16, 24), (384, 16, 24), (600, 20, 30)]
    assert sorted(map(tuple, statistics.instance_sizes.tolist())) == sizes
    assert statistics.instances_per_image == [3, 2, 0, 0]
    # Sky and road, and: building, car, person; car, bicycle; building; building, person.
    assert statistics.classes_per_image == [5, 4, 3, 4]
    assert {p.record for p in found.problems if p.kind == "empty-class"} >= {"class 'bus'", "class 'wall'"}
    assert len(found.problems) == 19 - 6  # six of the classes were drawn


def test_masks_and_boxes_are_measured(yard: Path) -> None:
    edit(yard / "instances.json", lambda c: c["annotations"][1].update(segmentation=None, bbox=[1, 1, 5, 2]))
    found = of_yard(yard, "instances")
    # The mask of the one, the box of the other.
    assert found.problems == []
    assert found.statistics.instance_sizes.tolist() == [[12, 3, 4], [10, 2, 5]]
    (hens,) = found.statistics.classes
    assert (hens.pixels, hens.images, hens.instances, hens.crowds) == (None, 2, 2, 0)


def test_boxes_are_measured_within_their_image(yard: Path) -> None:
    hen(yard, segmentation=None, bbox=[-1e30, 6, 1e32, 1e32])
    found = of_yard(yard, "instances")
    assert [p.kind for p in found.problems] == ["box-outside"]
    assert found.statistics.instance_sizes[0].tolist() == [2 * 12, 2, 12]


def test_surveys_do_not_depend_on_workers(tiny_dataset: Any) -> None:
    names = [tiny_dataset.train, tiny_dataset.val]
    texts = {json.dumps(convert_surveys_to_json(survey_datasets(names, workers))) for workers in (0, 1, 2)}
    assert len(texts) == 1
    content = json.loads(texts.pop())
    assert [entry["name"] for entry in content["datasets"]] == names
    # Image 2 of the one and image 1 of the other are a building and nothing else.
    (same,) = [p for p in content["problems"] if p["kind"] == "same-image"]
    assert same["dataset"] == tiny_dataset.val and same["severity"] == "warning" and same["fix"]
    assert content["errors"] == 0 and content["warnings"] == len(content["problems"])


@pytest.mark.skipif(sys.platform != "linux", reason="workers that are not forked do not have the patch")
def test_killed_workers_are_an_error(tiny_dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "read_used_share", lambda *arguments: os._exit(1))
    with pytest.raises(DataError, match="a process was killed"):
        survey_datasets([tiny_dataset.train], workers=2)


@pytest.mark.parametrize(("top", "is_reported"), [(1023, True), (4095, True), (16383, False), (65535, False)])
def test_deep_images_that_use_a_tenth_of_their_range_are_reported(top: int, is_reported: bool, yard: Path) -> None:
    pixels = np.linspace(0, top, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16)
    Image.fromarray(pixels).save(yard / "images/one.png")
    assert ("value-range" in {problem.kind for problem in of_yard(yard, "instances").problems}) == is_reported


def test_a_range_of_values_in_the_config_is_that_of_the_images(yard: Path) -> None:
    pixels = np.linspace(0, 4095, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16)
    Image.fromarray(pixels).save(yard / "images/one.png")
    register_custom([{"NAME": "yard", "IMAGES": "images", **GROUND_TRUTHS["panoptic"]}], yard)
    (found,) = survey_datasets(["yard"], 0, ImageReader(value_range=(0, 4095)))
    assert found.problems == []
