"""The start of a training on a large panoptic data set: from the JSON to the first batch, here and in a new process.

The method builds the records with its checks, and finds that no image and label has changed since it read them before.
The peer, Detectron2's loader, builds its records without any check. The files are links to a few files in COCO's
panoptic format, with as many segments an image as COCO has; before the first start each of the few is read once. A new
process first imports the libraries, also those of the other side: less than a second of the peer's time.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

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
from unified_seg.data.validation import check_cache, checks
from unified_seg_cli import ToolParser
from unified_seg_files import cache

from .data import BATCH, make_peer
from .data_files import KINDS, Record, make_folder, toyscapes_table, write_files
from .harness import Call, Comparison

# Of the files; not a choice.
SIZE = (480, 640)
DISTINCT = 8
SEGMENTS = 11  # an image; the mean of COCO
# What a new process runs.
PROCESS = """
import sys
from pathlib import Path
from benchmarks import start
print((start.start_peer if sys.argv[2] == "peer" else start.start_method)(Path(sys.argv[1]))[-1]["number"])
"""
NAME = "benchmark_start"


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--records", "images of the data set", default=118_000)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparisons of a later start with the loader of Detectron2."""
    root = make_folder() / NAME
    files = f"links to {DISTINCT} Toyscapes scenes (seed 0), {SIZE[0]}x{SIZE[1]} JPEGs with {SEGMENTS} segments each"
    return [
        Comparison(
            name=f"start with {args.records} images that were checked before",
            against="Detectron2's load_coco_panoptic_json, without checks",
            inputs=files,
            method=partial(prepare_start, root, args.records, peer=False),
            peer=partial(prepare_start, root, args.records, peer=True),
            equal="files and segment ids of some records",
            assert_equal=assert_equal_records,
        ),
        Comparison(
            name=f"from the command to the first batch of {args.records} images",
            against="Detectron2's load_coco_panoptic_json, without checks",
            inputs=files,
            method=partial(prepare_process, root, args.records, peer=False),
            peer=partial(prepare_process, root, args.records, peer=True),
            equal="the numbers of records",
            assert_equal=assert_equal_numbers,
            starts_anew=True,
        ),
    ]


def prepare_start(root: Path, records: int, peer: bool) -> Call:
    """Prepare the start by the method or the peer; the first call for a folder writes the data set there."""
    if not root.is_dir():
        write_dataset(root, records)
        _check_once(root)
    return partial(start_peer if peer else start_method, root)


def prepare_process(root: Path, records: int, peer: bool) -> Call:
    """Prepare the start in a new process."""
    prepare_start(root, records, peer)
    return partial(start_process, root, peer)


def start_process(root: Path, peer: bool) -> int:
    """Start in a new process; return the number of records."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-W", "ignore", "-c", PROCESS, str(root), "peer" if peer else "method"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout.split()[-1])


def write_dataset(root: Path, records: int) -> None:
    """Write the data set into a new folder."""
    sources, links = root / "sources", root / "images"
    for folder in (sources, links):
        folder.mkdir(parents=True)
    scenes = write_files(sources, KINDS["coco"], DISTINCT, SEGMENTS)
    for scene in scenes:  # Detectron2 expects an image of the PNG's name
        os.replace(scene["pan_seg_file_name"], Path(scene["file_name"]).with_suffix(".png"))
    # Links to the folder give each file many names, at a fraction of the time of links to the files.
    for number in range(-(-records // DISTINCT)):
        (links / f"{number:06d}").symlink_to(sources)
    (root / "panoptic").symlink_to(links)
    images, annotations = [], []
    for index in range(records):
        scene, name = scenes[index % DISTINCT], f"{index // DISTINCT:06d}/{index % DISTINCT}"
        images.append({"id": index, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]})
        segments = [{**info, "category_id": _find_dataset_id(info)} for info in scene["segments_info"]]
        annotations.append({"image_id": index, "file_name": f"{name}.png", "segments_info": segments})
    categories = [{"id": c.dataset_id, "name": c.name, "isthing": int(c.is_thing)} for c in toyscapes_table().classes]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(root / "panoptic.json", content, indent=None)


def _check_once(root: Path) -> None:
    """Fill the cache of checks, reading each of the distinct files once."""
    found: dict[int, checks.Contents] = {}
    check_record = checks.check_record

    def check_file(record: Record, **options: Any) -> checks.Contents:
        number = os.stat(record["pan_seg_file_name"]).st_ino
        if number not in found:
            found[number] = check_record(record, **options)
        return found[number]

    # Files count as unchanged if they are at rest for some seconds; links are as new as they were made.
    at_rest = mock.patch.object(check_cache, "SECONDS_AT_REST", 0)
    with at_rest, mock.patch.object(checks, "check_record", check_file), _cache_in(root / "cache"), share_records():
        checks.check_datasets(_make_config(root))


def _find_dataset_id(info: Record) -> int:
    return toyscapes_table().find_class(info["category_id"], info["isthing"]).dataset_id


def start_method(root: Path) -> list[Record]:
    """Check the data set, build the loader and read a batch; return some of the records, and their number last."""
    cfg = _make_config(root)
    with _cache_in(root / "cache"), share_records():
        checks.check_datasets(cfg)
        next(iter(build_train_loader(cfg)))
        return _choose(load_training_records(cfg))


def start_peer(root: Path) -> list[Record]:
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


def assert_equal_numbers(method: int, peer: int) -> None:
    assert method == peer, f"{method} and {peer} records"
