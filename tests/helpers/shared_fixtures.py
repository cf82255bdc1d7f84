"""What many tests need: a small data set of hand-drawn streets on disk, and the config of a small model.

Every image is 64 x 128 and its colors are its classes: where a class is drawn, the image has the class's color.
"""

import gc
import importlib.util
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from model_parts import without_detector
from PIL import Image
from tiny_model import TINY

from unified_seg.config import get_config, merge_file
from unified_seg.config.heads import registered_heads
from unified_seg.data.datasets.cityscapes import build_cityscapes_table, register_cityscapes_like
from unified_seg.structures.class_table import ClassTable
from unified_seg_files import get_cache_folder

CONFIGS = Path(__file__).parents[2] / "configs"
SIZE = (64, 128)
IGNORE = 255
VOID_COLOR = (0, 0, 0)
LOGGERS = [logging.getLogger(name) for name in ("unified_seg", "detectron2", "fvcore")]

# The models are small enough that more threads would only wait for each other.
torch.set_num_threads(1)

# (class name, rows, columns); an image is sky, road and an unlabeled bonnet with these on top, later ones in front.
CAR_LEFT = ("car", slice(30, 50), slice(10, 40))
CAR_RIGHT = ("car", slice(34, 50), slice(60, 84))
WALKER = ("person", slice(24, 54), slice(98, 108))
BICYCLE = ("bicycle", slice(36, 54), slice(44, 58))
BUILDING = ("building", slice(0, 32), slice(0, 48))
SCENES: dict[str, list[list[Any]]] = {
    "train": [[BUILDING, CAR_LEFT, CAR_RIGHT, WALKER], [CAR_RIGHT, BICYCLE], [BUILDING], [BUILDING, WALKER]],
    "val": [[CAR_LEFT, WALKER, BICYCLE], [BUILDING]],
}
# Images (split, index) where the last object drawn is a group of its class: one segment, marked as a crowd.
CROWDS = {("train", 3)}


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Results of checks are kept in a folder of these tests, also by the tools that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNIFIED_SEG_COMPILED", str(get_cache_folder() / "compiled"))  # compiling takes a minute
        patch.setenv("UNIFIED_SEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@dataclass(frozen=True)
class TinyDataset:
    """The data set's folder in Cityscapes' layout, and the names of its registered splits.

    Training images: 0 has a building, two cars and a person; 1 a car and a bicycle; 2 no instance; 3 a crowd of
    persons and no other instance. Validation images: 0 has a car, a person and a bicycle; 1 no instance.
    """

    root: Path
    train: str
    val: str


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyDataset]:
    root = tmp_path_factory.mktemp("tiny_streets")
    names = {split: f"unified_test_streets_{split}" for split in SCENES}
    for split, scenes in SCENES.items():
        write_split(root, split, scenes)
        register_cityscapes_like(names[split], root, split)
    yield TinyDataset(root, names["train"], names["val"])
    for name in names.values():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def forget_datasets() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture(scope="session")
def load_script() -> Callable[[Path], ModuleType]:
    """Makes a module of a file that is in no package, anew at each call."""

    def load(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(autouse=True)
def _undo_settings() -> Iterator[None]:
    """A run in a test gives its loggers handlers that write to what pytest captures of that test; they go with it.

    A benchmark in a test may change the number of threads.
    """
    before = [list(logger.handlers) for logger in LOGGERS]
    yield
    for logger, handlers in zip(LOGGERS, before):
        logger.handlers[:] = handlers
    torch.set_num_threads(1)


@pytest.fixture
def tiny_config(tiny_dataset: TinyDataset, tmp_path: Path) -> CfgNode:
    """The slim unified model shrunk further, on the CPU: a forward and backward pass takes a fraction of a second."""
    cfg = read_tiny_config(*registered_heads()).clone()
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (tiny_dataset.train,), (tiny_dataset.val,)
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    return cfg


@cache
def read_tiny_config(*heads: str) -> CfgNode:
    """Return the config of `tiny_config` without data; the registered heads have added their keys."""
    cfg = get_config()
    merge_file(cfg, CONFIGS / "base/unified_fpn.yaml")
    merge_file(cfg, CONFIGS / "base/slim_r18_128x256.yaml")
    cfg.MODEL.PANOPTIC_FUSION.NAME = "ScoreOrderFusion"
    cfg.merge_from_list([word for item in TINY.items() for word in item])
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.TEST.REPORT = False
    return cfg


@pytest.fixture
def correcting_config(tiny_config: CfgNode) -> CfgNode:
    """The config of a small semantic model that predicts its errors and corrects them."""
    cfg, head = tiny_config, tiny_config.MODEL.SEM_SEG_HEAD
    without_detector(cfg)
    cfg.MODEL.UNIFIED.OUTPUT = "compact"
    head.ERROR_CORRECTION.BASE, head.NAME = head.NAME, "ErrorCorrectionHead"
    head.ERROR_CORRECTION.DETAIL_FEATURES = ["p4", "p3", "p2"]
    head.ERROR_CORRECTION.ERROR_DIM = head.ERROR_CORRECTION.DETAIL_DIM = 16
    head.ERROR_CORRECTION.THRESHOLD = 0.5
    return cfg


def write_split(root: Path, split: str, scenes: list[list[Any]]) -> None:
    """Images, labels and the panoptic JSON of one split, as cityscapesScripts leaves them."""
    table = build_cityscapes_table()
    image_dir, label_dir = root / "leftImg8bit" / split / "alpha", root / "gtFine" / split / "alpha"
    panoptic_dir = root / "gtFine" / f"cityscapes_panoptic_{split}"
    for folder in (image_dir, label_dir, panoptic_dir):
        folder.mkdir(parents=True)
    images, annotations = [], []
    for index, scene in enumerate(scenes):
        image_id = f"alpha_{index:06d}_000019"
        semantic, segments, infos = draw(scene, table, crowd=(split, index) in CROWDS)
        colors = np.array([*table.semantic_colors, *[VOID_COLOR] * (256 - table.num_semantic)], dtype=np.uint8)
        Image.fromarray(colors[semantic]).save(image_dir / f"{image_id}_leftImg8bit.png")
        Image.fromarray(semantic.astype(np.uint8)).save(label_dir / f"{image_id}_gtFine_labelTrainIds.png")
        Image.fromarray(segments.astype(np.uint16)).save(label_dir / f"{image_id}_gtFine_instanceIds.png")
        coded = np.stack([segments % 256, segments // 256 % 256, segments // 65536], axis=-1).astype(np.uint8)
        Image.fromarray(coded).save(panoptic_dir / f"{image_id}_gtFine_panoptic.png")
        file_name = f"{image_id}_gtFine_panoptic.png"
        images.append({"id": image_id, "file_name": file_name, "height": SIZE[0], "width": SIZE[1]})
        annotations.append({"image_id": image_id, "file_name": file_name, "segments_info": infos})
    content = {"images": images, "annotations": annotations}
    (root / "gtFine" / f"cityscapes_panoptic_{split}.json").write_text(json.dumps(content))


def draw(scene: list[Any], table: ClassTable, crowd: bool) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Semantic ids, segment ids (Cityscapes' label id, times 1000 plus a number for instances) and segments_info."""
    classes = {c.name: c for c in table.classes}
    semantic = np.full(SIZE, IGNORE)
    segments = np.zeros(SIZE, dtype=np.int64)
    shapes = [("sky", slice(0, 32), slice(None)), ("road", slice(32, 60), slice(None)), *scene]
    crowd_id = None
    for number, (name, rows, columns) in enumerate(shapes):
        cls = classes[name]
        grouped = crowd and number == len(shapes) - 1
        semantic[rows, columns] = cls.semantic_id
        segments[rows, columns] = cls.dataset_id * 1000 + number if cls.is_thing and not grouped else cls.dataset_id
        crowd_id = cls.dataset_id if grouped else crowd_id
    infos = []
    for segment_id in np.unique(segments[segments > 0]).tolist():
        rows, columns = np.nonzero(segments == segment_id)
        box = [columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1]
        infos.append(
            {
                "id": segment_id,
                "category_id": segment_id // 1000 if segment_id >= 1000 else segment_id,
                "area": len(rows),
                "bbox": [int(v) for v in box],
                "iscrowd": int(segment_id == crowd_id),
            }
        )
    return semantic, segments, infos


def pytest_collection_finish() -> None:
    """Exempt the imported modules and the collected tests from garbage collection, which would walk them each time."""
    gc.collect()
    gc.freeze()
