"""Draw the ground truth on disk, or what the training loader returns."""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.env import seed_all_rng
from tqdm import tqdm

from unified_seg import load_config
from unified_seg.data.io.image_files import convert_to_picture
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.pipeline.loaders import build_train_loader, load_training_records
from unified_seg.data.resolve import resolve_config
from unified_seg.data.validation.value_ranges import find_common_range
from unified_seg.inference.images import LeftOutFiles, make_writable
from unified_seg.inference.value_range import set_value_range
from unified_seg.visualization import draw_ground_truth, draw_panels
from unified_seg.visualization.canvas import write_picture
from unified_seg.visualization.ground_truth_outputs import convert_targets


def setup(args: argparse.Namespace) -> CfgNode:
    # Without worker processes, so that an error of the loader is reported in one line.
    return resolve_config(load_config(args.config_file, ["DATALOADER.NUM_WORKERS", "0", *args.opts]))


def annotations(cfg: CfgNode, left_out: LeftOutFiles) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and picture of each record of DATASETS.TRAIN whose files can be read."""
    for name in cfg.DATASETS.TRAIN:
        metadata = MetadataCatalog.get(name)
        for record in DatasetCatalog.get(name):
            picture = None
            with left_out.collect():
                picture = draw_ground_truth(record, metadata)
            if picture is not None:
                yield str(record["image_id"]), picture


def batches(cfg: CfgNode) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and picture of each image of the training loader, endlessly, with the values that training reads."""
    found = find_common_range(load_training_records(cfg)) if ImageReader.from_config(cfg).lacks_range else None
    if found is not None:
        cfg = set_value_range(cfg, found)
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    for batch in build_train_loader(cfg):
        for targets in batch:
            image = convert_to_picture(targets["image"].permute(1, 2, 0).numpy(), cfg.INPUT.FORMAT)
            picture = draw_panels(image, convert_targets(targets), metadata)
            yield str(targets["image_id"]), picture


def save(pictures: Iterator[tuple[str, np.ndarray]], total: int, folder: Path) -> None:
    """Write <number>_<name>.png; the loader yields an image again with another augmentation, so names may repeat."""
    make_writable(folder)
    digits, drawn = len(str(total - 1)), 0
    for index, (name, picture) in enumerate(tqdm(islice(pictures, total), total=total, desc="drawing", disable=None)):
        file = folder / f"{index:0{digits}}_{name.replace('/', '_')}.png"
        write_picture(file, picture)
        drawn += 1
    print(f"{drawn} pictures in {folder}")


def run(args: argparse.Namespace) -> None:
    cfg = setup(args)
    size = sum(len(DatasetCatalog.get(name)) for name in cfg.DATASETS.TRAIN)
    if args.source == "annotation":
        left_out = LeftOutFiles()
        save(annotations(cfg, left_out), min(size, args.num_images or size), args.output)
        left_out.raise_any(size)
    else:
        if cfg.SEED >= 0:
            seed_all_rng(cfg.SEED)
        save(batches(cfg), args.num_images or size, args.output)
