#!/usr/bin/env python3
"""Draw where the semantic maps of two trained models differ most, for the better and for the worse.

    python tools/compare_models.py --dataset unified_toyscapes_val --top 3 --output output/fcn_and_psp \\
        --before projects/pspnet/configs/toyscapes_fcn.yaml output/pspnet/toyscapes_fcn/model_final.pth \\
        --after projects/pspnet/configs/toyscapes_psp.yaml output/pspnet/toyscapes_psp/model_final.pth \\
        --names FCN PSPNet

The two may be one model, of which --before-opts or --after-opts changes a side:

    python tools/compare_models.py ... --after-opts TEST.AUG.ENABLED True TEST.AUG.SCALES '(0.75, 1.0, 1.25)'

The folder gets changes.csv (share of the labeled pixels that each model has right, of each image, best change first),
best.png and worst.png. Where a model's fusion refines the semantic map, the refined one is compared.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog

from unified_seg import load_config
from unified_seg.checkpoint import CheckpointError
from unified_seg.config import COMPACT, ConfigError
from unified_seg.data.datasets.classes import dataset_classes
from unified_seg.data.io.image_files import read_image
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config
from unified_seg.evaluation.model_outputs import get_label_map
from unified_seg.inference import Predictor
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.change_sheets import write_changes
from unified_seg.visualization.changes import LabelMaps

SIDES = ("before", "after")


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    for side, model in zip(SIDES, ("the baseline", "the model to compare with it")):
        add(f"--{side}", nargs=2, required=True, metavar=("CONFIG", "WEIGHTS"), help=model)
    add("--names", nargs=2, default=SIDES, metavar=("BEFORE", "AFTER"), help="what the captions call the two")
    add("--dataset", required=True, metavar="NAME", help="a registered data set with semantic truth")
    add("--top", type=int, default=3, metavar="N", help="images on each sheet; default: 3")
    add("--output", type=Path, required=True, metavar="FOLDER", help="where results go")
    overrides = {"--opts": "config overrides of both: KEY VALUE ..."}
    overrides |= {f"--{side}-opts": f"of --{side} alone; they go before those of both" for side in SIDES}
    for option, words in overrides.items():
        add(option, nargs="*", action="extend", default=[], metavar="WORD", help=words)
    args = parser.parse_args(arguments)
    if args.top < 1:
        parser.error(f"--top {args.top}: at least one image")
    return args


def load_side(args: argparse.Namespace, side: str) -> Predictor:
    """One of the two models.

    Raises:
        CheckpointError: its weights can't be used.
        ConfigError: its config can't be used, or its classes are not those of the data set; the side is named.
    """
    config, weights = getattr(args, side)
    try:
        overrides = [*args.opts, *getattr(args, f"{side}_opts"), "MODEL.WEIGHTS", weights]
        cfg = load_config(config, overrides, defaults=COMPACT)
        cfg.DATASETS.TEST = (args.dataset,)
        return Predictor(resolve_config(cfg))
    except ConfigError as error:
        raise ConfigError(f"--{side} {config}: {error}") from None


def label_maps(predictors: Sequence[Predictor], table: ClassTable, record: dict[str, Any]) -> LabelMaps:
    """Truth of one record, and the predictions of the two models.

    Raises:
        DataError: as `read_semantic_ground_truth`.
        ConfigError: one of the models gives no semantic map.
    """
    image = read_image(record["file_name"], "BGR")
    ground_truth = read_semantic_ground_truth(record, table, size=image.shape[:2])
    before, after = (semantic_labels(predictor(image), side) for predictor, side in zip(predictors, SIDES))
    return LabelMaps(ground_truth, before, after)


def semantic_labels(outputs: dict[str, Any], side: str) -> np.ndarray:
    """(H, W) semantic ids of a model's outputs, in either form of MODEL.UNIFIED.OUTPUT."""
    labels = get_label_map(outputs)
    if labels is None:
        raise ConfigError(f"--{side}: the model has no semantic head, so there is no semantic map to compare")
    return labels.cpu().numpy()


def run(args: argparse.Namespace) -> None:
    predictors = [load_side(args, side) for side in SIDES]
    records = DatasetCatalog.get(args.dataset)
    table = dataset_classes(MetadataCatalog.get(args.dataset))
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--output {args.output} can't be made: {error.strerror}") from None
    compare = partial(label_maps, predictors, table)
    summary = write_changes(args.output, compare, records, table, names=tuple(args.names), top=args.top)
    print(f"{summary}: {args.output}")


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        run(parse_args(arguments))
    except (ConfigError, CheckpointError, DataError) as error:
        # What a user can mend, without a traceback.
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
