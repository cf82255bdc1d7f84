"""Inference of one image by UnifiedSegmentor with compact output against Detectron2's PanopticFPN.

The time is from the image to all final results. Both models have the same backbone, RPN and ROI heads with the same
random weights; they differ in the meta-architecture, the semantic head, and the panoptic fusion. Scores from random
weights are low, so both keep detections of any score, up to the largest number in the config.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.structures import Instances
from torch import nn

from unified_seg_cli import ToolParser

from .harness import Call, Comparison
from .inputs import toyscapes_batch
from .models import CONFIG, SEED, build_peer, build_unified, read_config

SIZE = (128, 256)
OVERRIDES = (
    *("MODEL.UNIFIED.OUTPUT", "compact"),
    # So that detections can be equal.
    *("MODEL.UNIFIED.CPU_PRECISION", "float32"),
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"),
    *("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", "0.0"),
)


def add_arguments(parser: ToolParser) -> None:
    parser.add_config_file("the config; default: %(default)s", type=Path, default=CONFIG)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparison; raises ConfigError for a config without detector or semantic head."""
    cfg = read_config(args.config_file, args.device, OVERRIDES)
    inference = partial(prepare_inference, args.config_file, args.device, args.size)
    scene = f"a Toyscapes scene (standard, seed {SEED}), {args.size[0]}x{args.size[1]}"
    return [
        Comparison(
            name=f"inference, {cfg.MODEL.SEM_SEG_HEAD.NAME}, {cfg.MODEL.PANOPTIC_FUSION.NAME or 'no fusion'}",
            against="Detectron2's PanopticFPN with SemSegFPNHead",
            inputs=f"{scene}, with {args.config_file.name}, random weights and a score threshold of 0, so that up to "
            f"{cfg.TEST.DETECTIONS_PER_IMAGE} detections are kept",
            method=partial(inference, peer=False),
            peer=partial(inference, peer=True),
            equal="the detector's classes, and its boxes and scores to 1e-3",
            assert_equal=assert_equal_detections,
        )
    ]


def prepare_inference(config_file: Path, device: str, size: tuple[int, int], peer: bool) -> Call:
    """Prepare inference of the method or the peer on a fixed image."""
    cfg = read_config(config_file, device, OVERRIDES)
    model = build_peer(cfg) if peer else build_unified(cfg)
    (scene,) = toyscapes_batch(size, 1, SEED, cfg.INPUT.FORMAT)
    return partial(infer, model.eval(), [{key: scene[key] for key in ("image", "height", "width")}])


def infer(model: nn.Module, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the outputs for the single image of a batch."""
    with torch.no_grad():
        return model(inputs)[0]


def assert_equal_detections(method: dict[str, Any], peer: dict[str, Any]) -> None:
    """Assert that the detections are equal; the semantic heads, and all results that depend on them, differ."""
    # The fusion may refine instances and append new ones, so the detections before it are compared.
    method_instances: Instances = method.get("unfused", method)["instances"]
    peer_instances: Instances = peer["instances"]
    assert len(method_instances) == len(peer_instances) > 0, (
        f"{len(method_instances)} and {len(peer_instances)} detections"
    )
    assert torch.equal(method_instances.pred_classes, peer_instances.pred_classes), "classes"
    for name, method_values, peer_values in (
        ("boxes", method_instances.pred_boxes.tensor, peer_instances.pred_boxes.tensor),
        ("scores", method_instances.scores, peer_instances.scores),
    ):
        difference = (method_values - peer_values).abs().max().item()
        assert difference <= 1e-3, f"{name} differ by up to {difference}"
