"""The photographs themselves if they are there, else two drawn images of each split in their layout.

UNIFIED_SEG_PHOTOGRAPHS names the folder of camvid, nuclei and cropweed; by default ../shared/data of the repository.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.datasets.small import camvid, cropweed, nuclei
from unified_seg.data.datasets.small.panoptic_splits import get_panoptic_json
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.problems import DataError

PHOTOGRAPHS = Path(os.environ.get("UNIFIED_SEG_PHOTOGRAPHS", Path(__file__).parents[5] / "shared/data"))
SIZE = (20, 30)


@pytest.fixture
def find(tmp_path: Path) -> Callable[[Any], tuple[Path, bool]]:
    """Returns the folder of a data set, and whether it holds the photographs."""

    def find(module: Any) -> tuple[Path, bool]:
        name = module.__name__.rpartition(".")[2]
        if (PHOTOGRAPHS / name).is_dir():
            return PHOTOGRAPHS / name, True
        for split in module.IMAGES:
            draw_camvid(tmp_path, split) if module is camvid else draw_panoptic(tmp_path, split, module.CATEGORIES)
        return tmp_path, False

    return find


def draw_image(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (60, 90, 30)).save(file)


def draw_camvid(root: Path, split: str) -> None:
    ids = np.full(SIZE, 11, np.uint8)
    ids[5:] = 10
    (root / f"{split}annot").mkdir()
    for name, suffix in (("0001TP_000030", "png"), ("0001TP_000060", "jpg")):
        draw_image(root / split / f"{split}{name}.{suffix}")
        Image.fromarray(ids).save(root / f"{split}annot" / f"{split}{name}.png")


def draw_panoptic(root: Path, split: str, categories: list[dict[str, Any]]) -> None:
    ids = np.zeros((*SIZE, 3), np.uint8)
    for number in range(len(categories)):
        ids[5 * number : 5 * number + 5, :, 0] = number + 1
    json_file = get_panoptic_json(root, split)
    json_file.with_suffix("").mkdir()
    segments = [{"id": n + 1, "category_id": c["id"], "iscrowd": 0} for n, c in enumerate(categories)]
    images, annotations = [], []
    for number in (1, 2):
        draw_image(root / split / f"{number}.png")
        Image.fromarray(ids).save(json_file.with_suffix("") / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]})
        annotations.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    json_file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


@pytest.fixture
def load(forget_datasets: None) -> Callable[..., tuple[list[Any], Any]]:
    """Registers a split of a folder, and returns its records and its classes."""

    def load(register: Callable[[str, Path, str], None], root: Path, split: str) -> tuple[list[Any], Any]:
        name = f"unified_test_photographs_{split}"
        register(name, root, split)
        return DatasetCatalog.get(name), dataset_classes(MetadataCatalog.get(name))

    return load


@pytest.mark.parametrize("split", ["train", "val", "trainval", "test"])
def test_camvid(split: str, find: Any, load: Any) -> None:
    root, is_real = find(camvid)
    records, table = load(camvid.register_camvid, root, split)
    assert len(records) == sum(camvid.IMAGES[part] if is_real else 2 for part in camvid.PARTS[split])
    assert [(c.name, c.semantic_id) for c in table.classes if c.name in ("sky", "bicyclist")] == [
        ("sky", 0),
        ("bicyclist", 10),
    ]
    found = [read_semantic_ground_truth(record, table) for record in records[:3]]
    assert {labels.shape for labels in found} == {(360, 480) if is_real else SIZE}
    ids = np.unique(np.stack(found)).tolist()
    # 11 in the files is void.
    assert ids[-1] == 255 and set(ids[:-1]) <= set(range(11))
    assert len({record["image_id"] for record in records}) == len(records)


@pytest.mark.parametrize(
    ("module", "split", "objects"),
    [
        (nuclei, "train", None),
        (nuclei, "val", None),
        (cropweed, "train", {"crop": 109, "weed": 225}),
        (cropweed, "test", {"crop": 57, "weed": 115}),
    ],
)
def test_panoptic_photographs(module: Any, split: str, objects: Any, find: Any, load: Any) -> None:
    root, is_real = find(module)
    register = module.register_nuclei if module is nuclei else module.register_cropweed
    records, table = load(register, root, split)
    assert len(records) == (module.IMAGES[split] if is_real else 2)
    things = [c.name for c in table.things]
    assert things == ["nucleus"] if module is nuclei else things == ["crop", "weed"]
    found = Counter(things[s["category_id"]] for record in records for s in record["segments_info"] if s["isthing"])
    if is_real:
        assert found.total() > 1000 if objects is None else found == objects
    else:
        assert found == dict.fromkeys(things, 2)
    labels = read_semantic_ground_truth(records[0], table)
    assert set(np.unique(labels).tolist()) - {255} == set(range(table.num_semantic))


def test_crop_and_weed_are_of_one_category(find: Any, load: Any) -> None:
    _, table = load(cropweed.register_cropweed, find(cropweed)[0], "test")
    assert [c.category for c in table.classes] == ["ground", "plant", "plant"]


def test_missing_folders_say_how_to_get_them(tmp_path: Path, load: Any) -> None:
    with pytest.raises(DataError, match=r"train: there is no such folder; .*`python datasets/prepare_camvid\.py`"):
        load(camvid.register_camvid, tmp_path, "trainval")
    with pytest.raises(DataError, match=r"train_panoptic\.json: .*`python datasets/prepare_nuclei\.py`"):
        load(nuclei.register_nuclei, tmp_path, "train")
    with pytest.raises(DataError, match=r"test_panoptic\.json: .*`python datasets/prepare_cropweed\.py`"):
        load(cropweed.register_cropweed, tmp_path, "test")


def test_they_are_registered() -> None:
    splits = {"camvid": ("train", "val", "trainval", "test"), "nuclei": ("train", "val"), "cropweed": ("train", "test")}
    assert {f"unified_{name}_{split}" for name in splits for split in splits[name]} <= set(DatasetCatalog.list())
