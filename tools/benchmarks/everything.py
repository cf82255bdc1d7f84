"""The model that holds everything against fewer of its parts: inference from the image to all final results.

All have the same weights, those of --weights, as far as they have the parts. Random weights find nothing and are wrong
everywhere, so how long the correction and the fusion take is only seen with trained ones.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn

from unified_seg import load_config
from unified_seg.checkpoint import Checkpointer, CheckpointError
from unified_seg.data.resolve import resolve_config
from unified_seg.meta_arch import build_model

from .harness import Call, Comparison
from .infer import infer
from .inputs import toyscapes_batch
from .models import SEED

SIZE = (128, 256)
CONFIG = Path(__file__).resolve().parents[2] / "projects/everything/configs/toyscapes.yaml"
#: Names of the models, as the rows of projects/everything/ablation.yaml, and what each has of the config.
BASE = "Mask R-CNN, ASP + RP, score-order fusion"
ADDED = {
    "+ semantic-guided fusion": {},
    "+ confusion groups": {"MODEL.SEM_SEG_HEAD.NAME": "ConfusionGroupHead"},
    "+ error correction": {"MODEL.SEM_SEG_HEAD.NAME": "ErrorCorrectionHead"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", default="", metavar="FILE", help="of a trained run of the config; default: random")


def comparisons(args: argparse.Namespace) -> list[Comparison]:
    """One for each part. Raises ValueError for weights that can't be read."""
    prepare = partial(prepare_inference, args.weights, args.device, args.size)
    weights = args.weights or "random weights"
    return [
        Comparison(
            name=name,
            against=BASE,
            inputs=f"a Toyscapes scene (standard, seed {SEED}), {args.size[0]}x{args.size[1]}, {weights}",
            ours=partial(prepare, name),
            peer=partial(prepare, BASE),
            equal="what the detector says before the fusion",
            assert_equal=assert_same_detector,
        )
        for name in ADDED
    ]


def read_model_config(name: str, device: str) -> CfgNode:
    """The config of one of the models by its name."""
    keys = {"MODEL.SEM_SEG_HEAD.NAME": "ASPRefinementHead", **ADDED.get(name, {})}
    if name == BASE:
        keys["MODEL.PANOPTIC_FUSION.NAME"] = "ScoreOrderFusion"
    overrides = [part for key, value in keys.items() for part in (key, value)]
    return resolve_config(
        load_config(
            CONFIG, ["MODEL.DEVICE", device, "MODEL.UNIFIED.OUTPUT", "compact", "SOLVER.STAGES", "[]", *overrides]
        )
    )


def prepare_inference(weights: str, device: str, size: tuple[int, int], name: str) -> Call:
    cfg = read_model_config(name, device)
    torch.manual_seed(SEED)
    model: nn.Module = build_model(cfg).eval()
    if weights:
        try:
            Checkpointer(model, complete=True).load(weights)
        except CheckpointError as error:
            raise ValueError(str(error)) from None
    (scene,) = toyscapes_batch(size, 1, SEED, cfg.INPUT.FORMAT)
    return partial(infer, model, [{key: scene[key] for key in ("image", "height", "width")}])


def assert_same_detector(ours: dict[str, Any], peer: dict[str, Any]) -> None:
    found, expected = (each.get("unfused", each)["instances"] for each in (ours, peer))
    assert torch.equal(found.pred_classes, expected.pred_classes), "classes"
    torch.testing.assert_close(found.pred_boxes.tensor, expected.pred_boxes.tensor)
