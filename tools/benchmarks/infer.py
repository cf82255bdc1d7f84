"""Inference of one image by UnifiedSegmentor, compact output, against Detectron2's PanopticFPN.

From the image to all final results. Both have the same backbone, RPN and ROI heads with the same random weights; they
differ in the meta-architecture, in the semantic head, and in ours having the fusion of its config. Random weights
are sure of nothing, so both take every detection, whatever its score, up to the config's limit on their number.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.structures import Instances
from torch import nn

from .harness import Call, Comparison
from .inputs import toyscapes_batch
from .models import CONFIG, SEED, build_ours, build_peer, read_config

SIZE = (128, 256)
OVERRIDES = (
    *("MODEL.UNIFIED.OUTPUT", "compact"),
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"),
    *("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", "0.0"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-file", type=Path, default=CONFIG, metavar="FILE", help="default: %(default)s")


def comparisons(args: argparse.Namespace) -> list[Comparison]:
    """One comparison. Raises ValueError for a config without detector or semantic head."""
    cfg = read_config(args.config_file, args.device, OVERRIDES)
    inference = partial(prepare_inference, args.config_file, args.device, args.size)
    scene = f"a Toyscapes scene (standard, seed {SEED}), {args.size[0]}x{args.size[1]}"
    return [
        Comparison(
            name=f"inference, {cfg.MODEL.SEM_SEG_HEAD.NAME}, {cfg.MODEL.PANOPTIC_FUSION.NAME or 'no fusion'}",
            against="Detectron2's PanopticFPN with SemSegFPNHead",
            inputs=f"{scene}, with {args.config_file.name}, random weights and a score threshold of 0, so that up to "
            f"{cfg.TEST.DETECTIONS_PER_IMAGE} detections come to the end",
            ours=partial(inference, peer=False),
            peer=partial(inference, peer=True),
            equal="the detector's classes, and its boxes and scores to 1e-3",
            assert_equal=assert_equal_detections,
        )
    ]


def prepare_inference(config_file: Path, device: str, size: tuple[int, int], peer: bool) -> Call:
    """Inference of ours or of the peer, of a fixed image."""
    cfg = read_config(config_file, device, OVERRIDES)
    model = build_peer(cfg) if peer else build_ours(cfg)
    (scene,) = toyscapes_batch(size, 1, SEED, cfg.INPUT.FORMAT)
    return partial(infer, model.eval(), [{key: scene[key] for key in ("image", "height", "width")}])


def infer(model: nn.Module, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The outputs of the one image of a batch."""
    with torch.no_grad():
        return model(inputs)[0]


def assert_equal_detections(ours: dict[str, Any], peer: dict[str, Any]) -> None:
    """The detector's part is the same; the semantic heads, and what is made of them, differ."""
    # The fusion may refine instances and append what it finds itself: the detector's own are those before it.
    our_instances: Instances = ours.get("unfused", ours)["instances"]
    peer_instances: Instances = peer["instances"]
    assert len(our_instances) == len(peer_instances) > 0, f"{len(our_instances)} and {len(peer_instances)} detections"
    assert torch.equal(our_instances.pred_classes, peer_instances.pred_classes), "classes"
    for name, our_values, peer_values in (
        ("boxes", our_instances.pred_boxes.tensor, peer_instances.pred_boxes.tensor),
        ("scores", our_instances.scores, peer_instances.scores),
    ):
        difference = (our_values - peer_values).abs().max().item()
        assert difference <= 1e-3, f"{name} differ by up to {difference}"
