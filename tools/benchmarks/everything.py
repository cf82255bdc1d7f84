"""The model with all parts against models with fewer parts: inference from the image to all final results.

All models have the weights of --weights for the parts that they have. Measure with trained weights: a model with random
weights detects nothing and predicts errors everywhere, which distorts the time of correction and fusion.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn

from unified_seg import load_config
from unified_seg.checkpoint import Checkpointer
from unified_seg.data.resolve import resolve_config
from unified_seg.meta_arch import build_model
from unified_seg_cli import ToolParser

from .harness import Call, Comparison
from .infer import infer
from .inputs import toyscapes_batch
from .models import SEED

SIZE = (128, 256)
CONFIG = Path(__file__).resolve().parents[2] / "projects/everything/configs/toyscapes.yaml"
#: The models, by the names of the rows of projects/everything/ablation.yaml, with their config keys.
BASE = "Mask R-CNN, ASP + RP, score-order fusion"
ADDED = {
    "+ semantic-guided fusion": {},
    "+ confusion groups": {"MODEL.SEM_SEG_HEAD.NAME": "ConfusionGroupHead"},
    "+ error correction": {"MODEL.SEM_SEG_HEAD.NAME": "ErrorCorrectionHead"},
}


def add_arguments(parser: ToolParser) -> None:
    parser.add_argument("--weights", default="", metavar="FILE", help="weights of a trained run; default: random")


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return a comparison for each part; raises CheckpointError for weights that can't be used."""
    prepare = partial(prepare_inference, args.weights, args.device, args.size)
    weights = args.weights or "random weights"
    return [
        Comparison(
            name=name,
            against=BASE,
            inputs=f"a Toyscapes scene (standard, seed {SEED}), {args.size[0]}x{args.size[1]}, {weights}",
            method=partial(prepare, name),
            peer=partial(prepare, BASE),
            equal="the detections before the fusion",
            assert_equal=assert_same_detector,
        )
        for name in ADDED
    ]


def read_model_config(name: str, device: str) -> CfgNode:
    """Read the config of one of the models by its name."""
    keys = {"MODEL.SEM_SEG_HEAD.NAME": "ASPRefinementHead", **ADDED.get(name, {})}
    keys["MODEL.PANOPTIC_FUSION.NAME"] = "ScoreOrderFusion" if name == BASE else "SemanticGuidedFusion"
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
        Checkpointer(model, complete=True).load(weights)
    (scene,) = toyscapes_batch(size, 1, SEED, cfg.INPUT.FORMAT)
    return partial(infer, model, [{key: scene[key] for key in ("image", "height", "width")}])


def assert_same_detector(method: dict[str, Any], peer: dict[str, Any]) -> None:
    found, expected = (each.get("unfused", each)["instances"] for each in (method, peer))
    assert torch.equal(found.pred_classes, expected.pred_classes), "classes"
    torch.testing.assert_close(found.pred_boxes.tensor, expected.pred_boxes.tensor)
