#!/usr/bin/env python3
"""Draw the images on which the semantic maps of two trained models differ most.

    python tools/compare_models.py --dataset unified_toyscapes_val --top 3 --output output/fcn_and_psp \\
        --before projects/pspnet/configs/toyscapes_fcn.yaml output/pspnet/toyscapes_fcn/model_final.pth \\
        --after projects/pspnet/configs/toyscapes_psp.yaml output/pspnet/toyscapes_psp/model_final.pth \\
        --names FCN PSPNet

Both may be the same model with other options:

    python tools/compare_models.py ... --after-opts TEST.AUG.ENABLED True TEST.AUG.SCALES '(0.75, 1.0, 1.25)'

The folder gets changes.csv (pixel accuracy of both models on each image, largest gain first), best.png and worst.png
(the images with the largest gain and with the largest loss). If the panoptic fusion of a model refines the semantic
map, the refined map is compared.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from unified_seg import load_config
from unified_seg.cli import ToolParser, run_tool
from unified_seg.config import COMPACT, ConfigError
from unified_seg.data.datasets.alignment import have_same_ids, load_with_classes, model_classes
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.resolve import resolve_config
from unified_seg.evaluation.model_outputs import get_label_map
from unified_seg.inference import Predictor
from unified_seg.inference.images import make_writable
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.change_sheets import write_changes
from unified_seg.visualization.changes import LabelMaps

SIDES = ("before", "after")


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    add = parser.add_argument
    for side, model in zip(SIDES, ("the baseline", "the model to compare with the baseline")):
        add(f"--{side}", nargs=2, required=True, metavar=("CONFIG", "WEIGHTS"), help=model)
        overrides = f"config overrides of --{side} alone; they take precedence over those of both models"
        add(f"--{side}-opts", nargs="*", action="extend", default=[], metavar="KEY VALUE", help=overrides)
    add("--names", nargs=2, default=SIDES, metavar=("BEFORE", "AFTER"), help="names of the models in the captions")
    parser.add_dataset("a registered data set with semantic ground truth")
    parser.add_count("--top", "images on each sheet", default=3)
    parser.add_output()
    parser.add_overrides()
    return parser.parse_args(arguments)


def load_side(args: argparse.Namespace, side: str) -> tuple[Predictor, ClassTable]:
    """Load one of the two models; return it and its classes.

    Raises:
        CheckpointError: the weights can't be used.
        ConfigError: the config can't be used, or its classes differ from those of the data set; the message names the
            side.
    """
    config, weights = getattr(args, side)
    try:
        overrides = [*args.opts, *getattr(args, f"{side}_opts"), "MODEL.WEIGHTS", weights]
        cfg = load_config(config, overrides, defaults=COMPACT)
        cfg.DATASETS.TEST = (args.dataset,)
        cfg = resolve_config(cfg)
        return Predictor(cfg), model_classes(cfg)
    except ConfigError as error:
        raise ConfigError(f"--{side} {config}: {error}") from None


def label_maps(predictors: Sequence[Predictor], table: ClassTable, record: dict[str, Any]) -> LabelMaps:
    """Return the ground truth of a record and the predictions of both models.

    Raises:
        DataError: see `read_semantic_ground_truth`.
        ConfigError: one of the models has no semantic head.
    """
    images = [predictor.read(record["file_name"]) for predictor in predictors]
    ground_truth = read_semantic_ground_truth(record, table, size=images[0].shape[:2])
    before, after = (semantic_labels(predict(image), side) for predict, image, side in zip(predictors, images, SIDES))
    return LabelMaps(ground_truth, before, after)


def semantic_labels(outputs: dict[str, Any], side: str) -> np.ndarray:
    """Return the (H, W) semantic ids in a model's outputs, in either form of MODEL.UNIFIED.OUTPUT.

    Raises:
        ConfigError: there is no semantic map.
    """
    labels = get_label_map(outputs)
    if labels is None:
        raise ConfigError(f"--{side}: the model has no semantic head (MODEL.SEM_SEG_HEAD.NAME), which is needed")
    return labels.cpu().numpy()


def run(args: argparse.Namespace) -> None:
    predictors, (before, after) = zip(*(load_side(args, side) for side in SIDES))
    if not have_same_ids(before, after):
        raise ConfigError("--before, --after: the models have different classes, or the same in another order")
    records, table = load_with_classes(args.dataset, before)
    make_writable(args.output)
    compare = partial(label_maps, predictors, table)
    summary = write_changes(args.output, compare, records, table, names=tuple(args.names), top=args.top)
    print(f"{summary}: {args.output}")


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)))


if __name__ == "__main__":
    main()
