"""The start of a training on a large panoptic data set: from the JSON to the first batch, in this process.

The method builds the records with its checks, and checks that no image and label has changed since it read them before
(the first start reads all of them). The peer, Detectron2's loader, builds its records without any check. The files are
links to a few files in COCO's panoptic format.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetFromList, MapDataset
from detectron2.data.build import build_batch_data_loader
from detectron2.data.datasets.coco_panoptic import load_coco_panoptic_json
from detectron2.data.samplers import TrainingSampler

from unified_seg.config import get_config
from unified_seg.data.datasets.alignment import share_records
from unified_seg.data.io.text_files import write_json
from unified_seg.data.pipeline.loaders import build_train_loader, load_training_records
from unified_seg.data.resolve import resolve_config
from unified_seg.data.validation.checks import check_datasets
from unified_seg_cli import ToolParser
from unified_seg_files import cache

from .data import BATCH, make_peer
from .data_files import KINDS, Record, toyscapes_table, write_files
from .harness import Call, Comparison

# Of the files; not a choice.
SIZE = (480, 640)
DISTINCT = 8
NAME = "benchmark_start"


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--records", "images of the data set", default=118_000)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparison of a later start with the loader of Detectron2."""
    return [
        Comparison(
            name=f"start with {args.records} images that were checked before",
            against="Detectron2's load_coco_panoptic_json, without checks",
            inputs=f"links to {DISTINCT} Toyscapes scenes (seed 0), 480x640 JPEGs with panoptic PNGs",
            method=partial(prepare_start, args.records, peer=False),
            peer=partial(prepare_start, args.records, peer=True),
            equal="files and segment ids of all records",
            assert_equal=assert_equal_records,
        )
    ]


@lru_cache(maxsize=1)
def write_dataset(records: int) -> tuple[tempfile.TemporaryDirectory, Path]:
    """Write the data set into a folder that is removed with the first result."""
    folder = tempfile.TemporaryDirectory()
    root = Path(folder.name)
    sources = root / "sources"
    for name in ("sources", "images", "panoptic"):
        (root / name).mkdir()
    scenes = write_files(sources, KINDS["coco"], DISTINCT)
    images, annotations = [], []
    for index in range(records):
        scene, name = scenes[index % DISTINCT], f"{index:012d}"
        os.link(scene["file_name"], root / "images" / f"{name}.jpg")
        os.link(scene["pan_seg_file_name"], root / "panoptic" / f"{name}.png")
        images.append({"id": index, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]})
        segments = [{**info, "category_id": _find_dataset_id(info)} for info in scene["segments_info"]]
        annotations.append({"image_id": index, "file_name": f"{name}.png", "segments_info": segments})
    categories = [{"id": c.dataset_id, "name": c.name, "isthing": int(c.is_thing)} for c in toyscapes_table().classes]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(root / "panoptic.json", content, indent=None)
    for file in sources.iterdir():  # long at rest, as files of a data set are
        os.utime(file, (1e9, 1e9))
    return folder, root


def _find_dataset_id(info: Record) -> int:
    return toyscapes_table().find_class(info["category_id"], info["isthing"]).dataset_id


def prepare_start(records: int, peer: bool) -> Call:
    """Prepare the start by the method or the peer."""
    folder, root = write_dataset(records)
    return partial(start_peer if peer else start_method, root, folder)


def start_method(root: Path, folder: Any) -> list[Record]:
    """Check the data set, build the loader and read a batch; return some of the records, and their number last."""
    cfg = _make_config(root)
    with _cache_in(root / "cache"), share_records():
        check_datasets(cfg)
        next(iter(build_train_loader(cfg)))
        return _choose(load_training_records(cfg))


def start_peer(root: Path, folder: Any) -> list[Record]:
    """Do the same with Detectron2's functions."""
    table = toyscapes_table()
    meta = {
        "thing_dataset_id_to_contiguous_id": {c.dataset_id: c.category_id for c in table.things},
        "stuff_dataset_id_to_contiguous_id": {c.dataset_id: c.category_id for c in table.classes if not c.is_thing},
    }
    files = str(root / "panoptic.json"), str(root / "images"), str(root / "panoptic")
    records = load_coco_panoptic_json(*files, meta)
    dataset = MapDataset(DatasetFromList(records, copy=False), make_peer(KINDS["coco"], "panoptic"))
    sampler = TrainingSampler(len(dataset))
    next(iter(build_batch_data_loader(dataset, sampler, BATCH, aspect_ratio_grouping=True)))
    return _choose(records)


def _make_config(root: Path) -> CfgNode:
    cfg = get_config()
    custom = {"NAME": NAME, "IMAGES": str(root / "images"), "PANOPTIC": str(root / "panoptic.json")}
    cfg.DATASETS.CUSTOM, cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = [custom], (NAME,), ()
    cfg.DATALOADER.NUM_WORKERS, cfg.SOLVER.IMS_PER_BATCH = 0, BATCH
    cfg.OUTPUT_DIR = str(root / "output")
    return resolve_config(cfg)


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Keep the results of checks in a folder of this benchmark."""
    os.environ.setdefault("UNIFIED_SEG_COMPILED", str(cache.get_cache_folder() / "compiled"))  # not compiled anew
    before = os.environ.get(cache.VARIABLE)
    os.environ[cache.VARIABLE] = str(folder)
    try:
        yield
    finally:
        del os.environ[cache.VARIABLE]
        if before is not None:
            os.environ[cache.VARIABLE] = before


def _choose(records: list[Record]) -> list[Record]:
    return [*records[:: max(len(records) // 100, 1)], {"number": len(records)}]


def assert_equal_records(method: list[Record], peer: list[Record]) -> None:
    """Assert that the number of records is equal, and files and segments of some of them."""
    assert method[-1] == peer[-1] and len(method) == len(peer), f"{method[-1]} and {peer[-1]}"
    for one, other in zip(method[:-1], peer[:-1]):
        for key in ("file_name", "pan_seg_file_name"):
            assert one[key] == other[key], f"{one[key]} is not {other[key]}"
        found, expected = ([(s["id"], s["category_id"]) for s in each["segments_info"]] for each in (one, other))
        assert found == expected, f"segments of {one['file_name']}"
