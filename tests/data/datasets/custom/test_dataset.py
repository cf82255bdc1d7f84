"""Data sets that a config names: registration, their ground truths, and errors of entries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from edited_json import edit, write
from PIL import Image

from unified_seg.config import ConfigError, get_config
from unified_seg.data.datasets.alignment import common_classes
from unified_seg.data.datasets.custom import CustomDataset, register_custom
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.image_files import read_image
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.problems import DataError, Problem
from unified_seg.data.resolve import resolve_config
from unified_seg.data.validation.checks import check_record

pytestmark = pytest.mark.usefixtures("forget_datasets")

NAME = "yard_train"
SIZE = (8, 12)
GRASS, HEN, COW = 3, 17, 40
CATEGORIES = [
    {"id": GRASS, "name": "grass", "isthing": 0, "supercategory": "ground"},
    {"id": HEN, "name": "hen", "isthing": 1, "supercategory": "animal", "color": [200, 100, 0]},
    {"id": COW, "name": "cow", "isthing": 1, "supercategory": "animal"},
]
Entry = dict[str, Any]


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    """Two images, a/one.png and two.webp, with all three ground truths: a hen on grass, and grass alone."""
    images, pngs, semantic = tmp_path / "images", tmp_path / "panoptic", tmp_path / "semantic"
    for folder in (images, pngs, semantic):
        (folder / "a").mkdir(parents=True)
    entries, annotations = [], []
    for index, name in enumerate(("a/one.png", "two.webp")):
        Image.fromarray(np.full((*SIZE, 3), 90, dtype=np.uint8)).save(images / name)
        labels = np.full(SIZE, GRASS, dtype=np.uint8)
        labels[0] = 0
        if index == 0:
            labels[2:5, 3:7] = HEN
        png = str(Path(name).with_suffix(".png"))
        Image.fromarray(labels).save(semantic / png)
        Image.fromarray(np.stack([labels, 0 * labels, 0 * labels], axis=-1)).save(pngs / png)
        present = [i for i in np.unique(labels).tolist() if i]
        entries.append({"id": index, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        segments = [{"id": i, "category_id": i, "area": int((labels == i).sum()), "iscrowd": 0} for i in present]
        annotations.append({"image_id": index, "file_name": png, "segments_info": segments})
    write(tmp_path / "panoptic.json", {"images": entries, "annotations": annotations, "categories": CATEGORIES})
    hen = {"id": 0, "image_id": 0, "category_id": HEN, "bbox": [3, 2, 4, 3], "segmentation": [[3, 2, 7, 2, 7, 5, 3, 5]]}
    write(tmp_path / "instances.json", {"images": entries, "annotations": [hen], "categories": CATEGORIES})
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump(CATEGORIES))
    return tmp_path


def entry(**more: Any) -> Entry:
    return {"NAME": NAME, "IMAGES": "images", **more}


PANOPTIC = {"PANOPTIC": "panoptic.json"}
INSTANCES = {"INSTANCES": "instances.json"}
SEMANTIC = {"SEMANTIC": "semantic", "CLASSES": "classes.yaml", "IGNORE": [0]}
GROUND_TRUTHS: dict[str, tuple[Entry, set[str]]] = {
    "panoptic": (PANOPTIC, {"pan_seg_file_name", "segments_info"}),
    "instances": (INSTANCES, {"annotations"}),
    "semantic": (SEMANTIC, {"sem_seg_file_name", "sem_seg_values"}),
    "instances and semantic": ({**INSTANCES, **SEMANTIC}, {"annotations", "sem_seg_file_name", "sem_seg_values"}),
    "panoptic and instances": ({**PANOPTIC, **INSTANCES}, {"pan_seg_file_name", "segments_info", "annotations"}),
}


@pytest.mark.parametrize("name", GROUND_TRUTHS)
def test_records_of_every_ground_truth(name: str, yard: Path) -> None:
    more, keys = GROUND_TRUTHS[name]
    register_custom([entry(**more)], yard)
    records = DatasetCatalog.get(NAME)
    table = dataset_classes(MetadataCatalog.get(NAME))
    assert [(c.name, c.semantic_id, c.thing_id, c.category) for c in table.classes] == [
        ("grass", 0, None, "ground"),
        ("hen", 1, 0, "animal"),
        ("cow", 2, 1, "animal"),
    ]
    assert [Path(r["file_name"]).relative_to(yard / "images").as_posix() for r in records] == ["a/one.png", "two.webp"]
    for record in records:
        assert record.keys() == {"file_name", "image_id", "height", "width"} | keys
        found: list[Problem] = []
        check_record(record, table, found.append)
        assert found == []
    if "instances" not in name or "semantic" in name:
        labels = read_semantic_ground_truth(records[0], table)
        # The first row is void; the hen has 3 x 4 pixels.
        assert (labels[0] == 255).all() and (labels == 1).sum() == 12 and (labels == 0).sum() == 7 * 12 - 12
    if "annotations" in keys:
        (hen,), nothing = (record["annotations"] for record in records)
        assert nothing == []
        assert (hen["category_id"], hen["bbox"], hen["bbox_mode"]) == (0, [3, 2, 4, 3], BoxMode.XYWH_ABS)


def test_data_sets_of_a_config_are_registered(yard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(yard))
    cfg = get_config()
    cfg.DATASETS.CUSTOM, cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = [entry(**PANOPTIC)], (NAME,), (NAME,)
    cfg = resolve_config(resolve_config(cfg))  # again is fine
    assert (cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES) == (3, 2)


def test_paths_can_be_absolute(yard: Path, tmp_path: Path) -> None:
    dataset = CustomDataset.from_entry(
        entry(IMAGES=str(yard / "images"), PANOPTIC=str(yard / "panoptic.json")), Path("/none")
    )
    assert len(dataset.load()) == 2


def test_files_are_found_by_their_endings(yard: Path) -> None:
    for image in (yard / "images").rglob("*.*"):
        image.rename(image.with_name(f"{image.stem}_photo.png"))
    for label in (yard / "semantic").rglob("*.png"):
        label.rename(label.with_name(f"{label.stem}_ids.png"))
    endings = {"IMAGE_ENDING": "_photo.png", "SEMANTIC_ENDING": "_ids.png"}
    records = CustomDataset.from_entry(entry(**SEMANTIC, **endings), yard).load()
    assert [r["image_id"] for r in records] == ["a/one", "two"]
    edit(yard / "instances.json", lambda c: c["images"][0].update(file_name="a/one_photo.png"))
    edit(yard / "instances.json", lambda c: c["images"][1].update(file_name="two_photo.png"))
    records = CustomDataset.from_entry(entry(**INSTANCES, **SEMANTIC, **endings), yard).load()
    assert [Path(r["sem_seg_file_name"]).name for r in records] == ["one_ids.png", "two_ids.png"]


ENTRIES: dict[str, tuple[Any, str]] = {
    "no entry": ("yard", "an entry must be keys and values, got 'yard'"),
    "no name": ({"IMAGES": "images", **PANOPTIC}, "an entry without NAME: NAME is missing"),
    "no images": ({"NAME": NAME, **PANOPTIC}, f"{NAME}: IMAGES is missing"),
    "images without classes": (entry(), f"{NAME}: no ground truth .PANOPTIC, INSTANCES or SEMANTIC. and no CLASSES"),
    "no classes": (entry(SEMANTIC="semantic"), f"{NAME}: CLASSES is required"),
    "unknown key": (entry(PANOPTIK="x"), f"{NAME}: unknown key PANOPTIK; the keys are NAME, IMAGES"),
    "name that is a path": ({**entry(**PANOPTIC), "NAME": "../up"}, r"\.\./up: NAME must have only letters, digits"),
    "text to ignore": (entry(**{**SEMANTIC, "IGNORE": ["0"]}), f"{NAME}: IGNORE\\[0\\] must be int, got '0'"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_wrong_entries_are_named(name: str, yard: Path) -> None:
    wrong, message = ENTRIES[name]
    with pytest.raises(ConfigError, match=f"DATASETS.CUSTOM: {message}"):
        register_custom([wrong], yard)


def without(*keys: str, **more: Any) -> Callable[[Any], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys:
            del content[key]
        content.update(more)

    return change


#: Keys of the entry, what becomes of the JSON, and the ids of the images.
IMAGES_ALONE: dict[str, tuple[Entry, Callable[[Any], None], list[Any]]] = {
    "folder with classes": ({"CLASSES": "classes.yaml"}, without(), ["a/one", "two"]),
    "folder with the classes of the training set": ({}, without(), ["a/one", "two"]),
    "image info": (INSTANCES, without("annotations"), [0, 1]),
    "image info without categories": (INSTANCES, without("annotations", "categories"), [0, 1]),
    "panoptic image info": (PANOPTIC, without("annotations"), [0, 1]),
    "panoptic without annotations": (PANOPTIC, without(annotations=[]), [0, 1]),
}


@pytest.mark.parametrize("name", IMAGES_ALONE)
def test_images_need_no_ground_truth(name: str, yard: Path) -> None:
    keys, change, ids = IMAGES_ALONE[name]
    register_custom([{**entry(**SEMANTIC), "NAME": "trained"}], yard)
    for file in ("instances.json", "panoptic.json"):
        edit(yard / file, change)
    register_custom([entry(**keys)], yard, ["trained"])
    records = DatasetCatalog.get(NAME)
    assert [record["image_id"] for record in records] == ids
    for record in records:
        assert record.keys() == {"file_name", "image_id", "height", "width"}
        assert (record["height"], record["width"]) == SIZE
    assert common_classes(["trained"], [NAME]).num_semantic == 3


def test_classes_of_the_training_set_need_no_order_of_entries(yard: Path) -> None:
    register_custom([entry(), {**entry(**PANOPTIC), "NAME": "trained"}], yard, ["trained"])
    assert MetadataCatalog.get(NAME).thing_classes == MetadataCatalog.get("trained").thing_classes


def test_empty_list_of_instances_is_a_ground_truth(yard: Path) -> None:
    edit(yard / "instances.json", without(annotations=[]))
    assert [record["annotations"] for record in CustomDataset.from_entry(entry(**INSTANCES), yard).load()] == [[], []]


def test_nothing_is_ignored_if_the_list_is_empty(yard: Path) -> None:
    register_custom([entry(**{**SEMANTIC, "IGNORE": []})], yard)
    values = DatasetCatalog.get(NAME)[0]["sem_seg_values"]
    assert 255 not in values and 255 not in values.values()


def test_void_of_255_as_a_class_is_65535(yard: Path) -> None:
    classes = yaml.safe_dump([{"name": "cell", "id": 255}, {"name": "ground", "id": 0}])
    (yard / "classes.yaml").write_text(classes)
    dataset = CustomDataset.from_entry(entry(SEMANTIC="semantic", CLASSES="classes.yaml"), yard)
    assert dataset.load()[0]["sem_seg_values"] == {255: 0, 0: 1, 65535: 255}


def test_repeated_names_are_refused(yard: Path) -> None:
    register_custom([entry(**PANOPTIC)], yard)
    with pytest.raises(ConfigError, match=f"'{NAME}' is the name of another data set"):
        register_custom([entry(**INSTANCES)], yard)
    with pytest.raises(ConfigError, match="'coco_2017_val' is the name"):
        register_custom([{**entry(**PANOPTIC), "NAME": "coco_2017_val"}], yard)


def test_classes_with_one_name_are_refused(yard: Path) -> None:
    edit(yard / "panoptic.json", lambda content: content["categories"][2].update(name="hen"))
    with pytest.raises(DataError, match=r"panoptic\.json: class names must be unique"):
        register_custom([entry(**PANOPTIC)], yard)


def test_images_without_all_ground_truths_are_named(yard: Path) -> None:
    edit(yard / "instances.json", lambda content: content["images"].pop())
    dataset = CustomDataset.from_entry(entry(**PANOPTIC, **INSTANCES), yard)
    with pytest.raises(DataError, match=r"two\.webp: only 1 of the 2 ground truths of 'yard_train' have it"):
        dataset.load()
    found: list[Problem] = []
    assert [Path(r["file_name"]).name for r in dataset.load(found.append)] == ["one.png"]
    assert [p.kind for p in found] == ["missing-ground-truth"]


def test_ground_truths_of_different_sizes_are_refused(yard: Path) -> None:
    edit(yard / "instances.json", lambda content: content["images"][0].update(height=9))
    with pytest.raises(DataError, match=r"one\.png: the ground truths of 'yard_train' have the sizes 8x12 and 9x12"):
        CustomDataset.from_entry(entry(**PANOPTIC, **INSTANCES), yard).load()


def test_values_without_a_meaning_are_named(yard: Path) -> None:
    register_custom([entry(**{**SEMANTIC, "IGNORE": [255]})], yard)
    record = DatasetCatalog.get(NAME)[0]
    with pytest.raises(DataError, match=r"one\.png: the values \[0\] are neither a class nor void; 12 pixels"):
        check_record(record, dataset_classes(MetadataCatalog.get(NAME)))


def test_classes_can_not_be_ignored(yard: Path) -> None:
    dataset = CustomDataset.from_entry(entry(**{**SEMANTIC, "IGNORE": [GRASS]}), yard)
    with pytest.raises(DataError, match=r"classes\.yaml: the values \[3\] can't be both ignored and ids of classes"):
        dataset.load()


def test_images_without_a_semantic_label_are_named(yard: Path) -> None:
    (yard / "semantic/two.png").unlink()
    dataset = CustomDataset.from_entry(entry(**SEMANTIC), yard)
    with pytest.raises(DataError, match=r"two\.webp: its label .*two\.png does not exist; .*CUSTOM 'yard_train'"):
        dataset.load()
    found: list[Problem] = []
    assert len(dataset.load(found.append)) == 1 and found[0].kind == "missing-ground-truth"


def load_entry(yard: Path, **keys: str) -> list[dict[str, Any]]:
    entry = {"NAME": NAME, "CLASSES": "classes.yaml", "SEMANTIC_ENDING": ".png", **keys}
    return CustomDataset.from_entry(entry, yard).load()


@pytest.mark.parametrize("truth", ["PANOPTIC", "INSTANCES", "SEMANTIC"])
@pytest.mark.parametrize("kind", ["files", "folders", "the root"])
def test_links_to_common_images_are_followed(yard: Path, truth: str, kind: str) -> None:
    file = {"PANOPTIC": "panoptic.json", "INSTANCES": "instances.json", "SEMANTIC": "semantic"}[truth]
    before = load_entry(yard, IMAGES="images", **{truth: file})
    (yard / "images").rename(yard / "common")
    images = yard / "images"
    if kind == "the root":
        images.symlink_to("common")
    else:
        images.mkdir()
        if kind == "folders":
            (images / "a").symlink_to("../common/a")
        else:
            (images / "a").mkdir()
            (images / "a" / "one.png").symlink_to("../../common/a/one.png")
        (images / "two.webp").symlink_to("../common/two.webp")
    records = load_entry(yard, IMAGES="images", **{truth: file})
    assert records == before
    assert all(read_image(record["file_name"]).shape == (*SIZE, 3) for record in records)


def test_linked_labels_are_followed(yard: Path) -> None:
    for folder in ("panoptic", "semantic"):
        (yard / folder / "a" / "one.png").rename(yard / f"{folder}_one.png")
        (yard / folder / "a" / "one.png").symlink_to(yard / f"{folder}_one.png")
    for truth in ({"PANOPTIC": "panoptic.json"}, {"SEMANTIC": "semantic"}):
        assert len(load_entry(yard, IMAGES="images", **truth)) == 2


@pytest.mark.parametrize("file", ["panoptic.json", "instances.json"])
def test_backslashes_in_file_names_are_slashes(yard: Path, file: str) -> None:
    truth = {"panoptic.json": "PANOPTIC", "instances.json": "INSTANCES"}[file]
    before = load_entry(yard, IMAGES="images", SEMANTIC="semantic", **{truth: file})

    def change(content: Any) -> None:
        content["images"][0]["file_name"] = "a\\one.png"
        if truth == "PANOPTIC":
            content["annotations"][0]["file_name"] = "a\\one.png"

    edit(yard / file, change)
    assert load_entry(yard, IMAGES="images", SEMANTIC="semantic", **{truth: file}) == before


def test_files_that_are_no_data_are_left_out(yard: Path) -> None:
    before = load_entry(yard, IMAGES="images", SEMANTIC="semantic")
    for folder in ("images", "semantic"):
        for name in ("._two.png", "a/._one.png", "__MACOSX/a.png", ".ipynb_checkpoints/two-checkpoint.png"):
            (yard / folder / name).parent.mkdir(exist_ok=True)
            (yard / folder / name).write_bytes(b"\0\5\26\7")
        (yard / folder / "Thumbs.db").touch()
    assert load_entry(yard, IMAGES="images", SEMANTIC="semantic") == before
