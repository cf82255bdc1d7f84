"""The data path: from a record to the tensors of a batch, against Detectron2's mappers on the same files.

Files like those of COCO (640x480 JPEGs, resized to 640 to 800 pixels) and of Cityscapes (2048x1024 PNGs, resized and
cropped to 1024x512). With panoptic PNGs the peer is PanopticDeeplabDatasetMapper, with polygons and semantic PNGs it is
DatasetMapper as for Panoptic FPN, with masks as bitmaps and as polygons. A call reads all images in this
process, or takes as many from a loader that runs all the time, or starts a loader and takes its first batch.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetFromList, DatasetMapper, MapDataset
from detectron2.data import transforms as T
from detectron2.data.build import build_batch_data_loader
from detectron2.data.samplers import TrainingSampler
from detectron2.projects.panoptic_deeplab import PanopticDeeplabDatasetMapper
from detectron2.projects.panoptic_deeplab.target_generator import PanopticDeepLabTargetGenerator
from detectron2.structures import BitMasks, PolygonMasks
from torch.utils.data import SequentialSampler

from unified_seg.config import get_config
from unified_seg.data.pipeline.input_augmentation import build_augmentations
from unified_seg.data.pipeline.loaders import load_compiled
from unified_seg.data.pipeline.mapper import UnifiedMapper
from unified_seg_cli import ToolParser

from .data_files import KINDS, SEED, Kind, Record, make_folder, provide_files, toyscapes_table
from .harness import Call, Comparison

# Of the files; not a choice.
SIZE = (480, 640)
BATCH = 2
FORMAT = "BGR"
Mapper = Callable[[Record], Record]
# The keys of records that each of the mappers reads.
COMMON_KEYS = ("file_name", "image_id", "height", "width")
KEYS = {
    "panoptic": (*COMMON_KEYS, "pan_seg_file_name", "segments_info"),
    "bitmasks": (*COMMON_KEYS, "sem_seg_file_name", "annotations"),
    "polygons": (*COMMON_KEYS, "sem_seg_file_name", "annotations"),
}
PEERS = {
    "panoptic": "PanopticDeeplabDatasetMapper",
    "bitmasks": "DatasetMapper with sem_seg and bitmaps",
    "polygons": "DatasetMapper with sem_seg and polygons",
}


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--images", "images that a call reads", default=8)
    parser.add_count("--workers", "processes of a loader", default=2)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparisons of mappers and of loaders, for each kind of files and ground truth."""
    root = make_folder()
    comparisons = []
    for name, kind in KINDS.items():
        for labels, peer in PEERS.items():
            if labels == "polygons" and kind.crop:
                continue  # see `Kind`
            places = {
                f"{args.images} images of {name}, one process": prepare_mapper,
                f"{args.images} images of {name}, {args.workers} workers": prepare_loader,
                f"first batch of {name}, {args.workers} workers": prepare_first_batch,
            }
            for what, prepare in places.items():
                if labels == "bitmasks" and prepare is not prepare_mapper:
                    continue  # loaders differ from the mapper by what goes from process to process: least with polygons
                options = {"root": root, "name": name, "labels": labels, "images": args.images, "workers": args.workers}
                comparisons.append(
                    Comparison(
                        name=what,
                        against=f"Detectron2's {peer}",
                        inputs=describe(name),
                        method=partial(prepare, **options, peer=False),
                        peer=partial(prepare, **options, peer=True),
                        equal="images, labels" + (", classes and masks" if labels != "panoptic" else ""),
                        assert_equal=assert_equal_tensors,
                        starts_anew=prepare is prepare_first_batch,
                    )
                )
    return comparisons


def describe(name: str) -> str:
    """Return the files and augmentations of a kind in words."""
    kind = KINDS[name]
    crop = f", a crop of {kind.crop[0]}x{kind.crop[1]}" if kind.crop else ""
    lengths = f"{kind.lengths[0]} to {kind.lengths[-1]}"
    return f"Toyscapes scenes (seed {SEED}), {kind.size[0]}x{kind.size[1]}{kind.suffix}, resized to {lengths}{crop}"


def prepare_mapper(root: Path, name: str, labels: str, images: int, workers: int, peer: bool) -> Call:
    """Prepare the reading of all images in this process by the method or the peer."""
    return partial(map_images, *make_mapper(root, name, labels, images, peer))


def prepare_loader(root: Path, name: str, labels: str, images: int, workers: int, peer: bool) -> Call:
    """Prepare the next images of a loader that runs all the time."""
    loaded = load_images(*make_mapper(root, name, labels, images, peer), workers)
    return partial(take_images, loaded, images)


def prepare_first_batch(root: Path, name: str, labels: str, images: int, workers: int, peer: bool) -> Call:
    """Prepare the start of a loader, and its end after a batch."""
    mapper, records = make_mapper(root, name, labels, images, peer)
    load_compiled(partial(mapper, records[0]))  # as `build_train_loader` does
    return partial(load_first_batch, mapper, records[:BATCH], workers)


def make_mapper(root: Path, name: str, labels: str, images: int, peer: bool) -> tuple[Mapper, list[Record]]:
    """Return the mapper of the method or the peer, and its records."""
    records = [{key: record[key] for key in KEYS[labels]} for record in provide_files(root / name, KINDS[name], images)]
    if not peer:
        return make_method(KINDS[name], labels), records
    if labels == "panoptic":
        records = [_with_semantic_ids(record) for record in records]
    return make_peer(KINDS[name], labels), records


def map_images(mapper: Mapper, records: list[Record]) -> list[Record]:
    """Map each record once, with the same random numbers each time."""
    np.random.seed(SEED)
    return [mapper(record) for record in records]


def load_images(mapper: Mapper, records: list[Record], workers: int, once: bool = False) -> Iterator[Record]:
    """Yield the mapped records in order, once or again and again, from a loader that starts with the first."""
    torch.manual_seed(SEED)
    dataset = MapDataset(DatasetFromList(records, copy=False), mapper)
    sampler = SequentialSampler(records) if once else TrainingSampler(len(records), shuffle=False)
    # As `build_detection_train_loader` does.
    loader = build_batch_data_loader(dataset, sampler, BATCH, aspect_ratio_grouping=True, num_workers=workers)
    for batch in loader:
        yield from batch


def take_images(loaded: Iterator[Record], count: int) -> list[Record]:
    """Return the next images."""
    return list(islice(loaded, count))


def load_first_batch(mapper: Mapper, records: list[Record], workers: int) -> list[Record]:
    """Read each record once by a new loader, whose workers then stop."""
    return list(load_images(mapper, records, workers, once=True))


def make_method(kind: Kind, labels: str) -> Mapper:
    """Return `UnifiedMapper`."""
    cfg = get_config()
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = kind.lengths, kind.max_size
    if kind.crop:
        cfg.INPUT.CROP.ENABLED, cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = True, "absolute", list(kind.crop)
    return UnifiedMapper(
        is_train=True, augmentations=build_augmentations(cfg, True), image_format=FORMAT, class_table=toyscapes_table()
    )


def make_peer(kind: Kind, labels: str) -> Mapper:
    """Return Detectron2's mapper for these labels, with the same augmentations."""
    steps: list[T.Augmentation] = [T.ResizeShortestEdge(kind.lengths, kind.max_size, "choice")]
    if kind.crop:
        steps.append(T.RandomCrop("absolute", kind.crop))
    steps.append(T.RandomFlip())
    if labels == "panoptic":
        table = toyscapes_table()
        generator = PanopticDeepLabTargetGenerator(
            ignore_label=table.ignore_label,
            thing_ids=[cls.semantic_id for cls in table.classes if cls.is_thing],
        )
        return PanopticDeeplabDatasetMapper(
            augmentations=steps, image_format=FORMAT, panoptic_target_generator=generator
        )
    return DatasetMapper(
        is_train=True,
        augmentations=steps,
        image_format=FORMAT,
        use_instance_mask=True,
        instance_mask_format="bitmask" if labels == "bitmasks" else "polygon",
    )


def _with_semantic_ids(record: Record) -> Record:
    """Return a record whose segments have semantic ids as classes, also things: what the panoptic peer reads."""
    table = toyscapes_table()
    segments = [
        {**info, "category_id": table.find_class(info["category_id"], info["isthing"]).semantic_id}
        for info in record["segments_info"]
    ]
    return {**record, "segments_info": segments}


def assert_equal_tensors(method: list[Record], peer: list[Record]) -> None:
    """Assert that images and labels are equal, and the classes and masks of instances if the peer has them."""
    assert len(method) == len(peer) > 0, f"{len(method)} and {len(peer)} images"
    for one, other in zip(method, peer):
        for key in ("image", "sem_seg"):
            assert torch.equal(one[key], other[key]), f"{key} of image {one['image_id']}"
        if "instances" in other:
            found, expected = one["instances"], other["instances"]
            assert torch.equal(found.gt_classes, expected.gt_classes), f"classes of image {one['image_id']}"
            masks = expected.gt_masks
            if isinstance(masks, PolygonMasks):
                masks = BitMasks.from_polygon_masks(masks, *expected.image_size)
            assert torch.equal(found.gt_masks.tensor, masks.tensor), f"masks of image {one['image_id']}"
