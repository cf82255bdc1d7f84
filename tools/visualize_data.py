#!/usr/bin/env python3
"""Draw a training set: its labels as they are on disk, or what training sees of them after augmentation.

    python tools/visualize_data.py --source annotation --config-file configs/toyscapes/unified_demo.yaml \\
        --output-dir output/labels --num 20
    python tools/visualize_data.py --source dataloader --config-file ... --output-dir output/augmented --num 20

In the second, image, semantic map and instances must have moved together.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.utils.env import seed_all_rng
from tqdm import tqdm

from unified_seg import load_config
from unified_seg.config import ConfigError
from unified_seg.data.pipeline.loaders import build_train_loader
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config
from unified_seg.visualization import draw_ground_truth, draw_panels
from unified_seg.visualization.ground_truth_outputs import convert_targets


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--source", choices=("annotation", "dataloader"), required=True, help="before or after the loader"
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="names the data set and augmentations")
    parser.add_argument("--output-dir", type=Path, default=Path("."), metavar="FOLDER", help="where pictures go")
    parser.add_argument("--num", type=int, metavar="N", help="pictures to draw; all of the set (once) if not given")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="config overrides: KEY VALUE ...")
    return parser.parse_args(arguments)


def setup(args: argparse.Namespace) -> CfgNode:
    # In this process, so that an error of the loader is shown as it is.
    return resolve_config(load_config(args.config_file, ["DATALOADER.NUM_WORKERS", "0", *args.opts]))


def annotations(cfg: CfgNode) -> Iterator[tuple[str, np.ndarray]]:
    """(name, picture) of each record of DATASETS.TRAIN."""
    for name in cfg.DATASETS.TRAIN:
        metadata = MetadataCatalog.get(name)
        for record in DatasetCatalog.get(name):
            yield str(record["image_id"]), draw_ground_truth(record, metadata)


def batches(cfg: CfgNode) -> Iterator[tuple[str, np.ndarray]]:
    """(name, picture) of each image that the training loader yields, without an end."""
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    for batch in build_train_loader(cfg):
        for targets in batch:
            image = convert_image_to_rgb(targets["image"].permute(1, 2, 0), cfg.INPUT.FORMAT)
            picture = draw_panels(np.ascontiguousarray(image), convert_targets(targets), metadata)
            yield str(targets["image_id"]), picture


def save(pictures: Iterator[tuple[str, np.ndarray]], total: int, folder: Path) -> None:
    """Write pictures as <number>_<name>.png: a loader without end draws an image again, with another augmentation."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--output-dir {folder} can't be made: {error.strerror}") from None
    digits = len(str(total - 1))
    for index, (name, picture) in enumerate(tqdm(islice(pictures, total), total=total, desc="drawing", disable=None)):
        file = folder / f"{index:0{digits}}_{name.replace('/', '_')}.png"
        if not cv2.imwrite(str(file), picture[:, :, ::-1]):
            raise DataError(f"{file} can't be written")
    print(f"{total} pictures in {folder}")


def run(args: argparse.Namespace) -> None:
    cfg = setup(args)
    if args.num is not None and args.num < 1:
        raise ConfigError(f"--num {args.num}: at least one picture")
    size = sum(len(DatasetCatalog.get(name)) for name in cfg.DATASETS.TRAIN)
    if args.source == "annotation":
        save(annotations(cfg), min(size, args.num or size), args.output_dir)
    else:
        if cfg.SEED >= 0:
            seed_all_rng(cfg.SEED)
        save(batches(cfg), args.num or size, args.output_dir)


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        run(parse_args(arguments))
    except (ConfigError, DataError) as error:
        # What a user can mend, without a traceback.
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
