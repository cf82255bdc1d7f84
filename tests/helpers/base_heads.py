"""Small base heads for wrapper heads, with inputs and targets for them."""

from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from model_parts import without_detector
from torch import Tensor

from unified_seg.heads import ASPRefinementHead, HeadInputs, HeadOptions

CLASSES, IGNORE = 5, 255
SHAPES = {f"p{i}": ShapeSpec(channels=8, stride=2**i) for i in (2, 3, 4, 5)}


def make_inputs(images: int = 2, height: int = 64, width: int = 96) -> HeadInputs:
    generator = torch.Generator().manual_seed(1)
    sizes = {name: (8, height // shape.stride, width // shape.stride) for name, shape in SHAPES.items()}
    features = {name: torch.randn(images, *size, generator=generator) for name, size in sizes.items()}
    image = torch.randn(images, 3, height, width, generator=generator)
    return HeadInputs(features, image, torch.ones(images, 1, height, width, dtype=torch.bool))


def make_targets(images: int = 2, height: int = 64, width: int = 96) -> Tensor:
    labels = torch.randint(0, CLASSES, (images, height, width), generator=torch.Generator().manual_seed(2))
    labels[:, -3:] = IGNORE
    return labels


def asp(first_level: int = 2) -> ASPRefinementHead:
    """Return a small head on the levels from p<first_level> to p5, at the stride of the first."""
    shapes = {f"p{i}": SHAPES[f"p{i}"] for i in range(first_level, 6)}
    options = HeadOptions(shapes, num_classes=CLASSES, common_stride=2**first_level, conv_dim=8)
    return ASPRefinementHead(options, asp_branch_dim=8, asp_rates=(1, 2, 3))


# By name, the keys below MODEL.SEM_SEG_HEAD that they need beyond the defaults.
BASES: dict[str, dict[str, Any]] = {
    "ASPRefinementHead": {},
    "PSPHead": {"PSP.AUX_FEATURE": "p4"},
    "PyramidalOutputHead": {"PYRAMID.UNITY_DIM": 16},
    "DPCHead": {"DPC.BRANCH_DIM": 16},
    "SemSegFPNHead": {},
    "DeepLabV3PlusHead": {
        "IN_FEATURES": ["p2", "p5"],
        "PROJECT_FEATURES": ["p2"],
        "PROJECT_CHANNELS": [32],
        "ASPP_CHANNELS": 32,
        "ASPP_DILATIONS": [1, 2, 3],
    },
}

NODES = {"ErrorCorrectionHead": "ERROR_CORRECTION", "ConfusionGroupHead": "CONFUSION_GROUPS"}


def wrap(cfg: CfgNode, name: str, base: str) -> CfgNode:
    """Turn a config into that of a model without a detector, with this wrapper head around this base head."""
    without_detector(cfg)
    node = cfg.MODEL.SEM_SEG_HEAD
    node.NAME, node.NUM_CLASSES, node[NODES[name]].BASE = name, CLASSES, base
    for key, value in BASES.get(base, {}).items():
        cfg.merge_from_list([f"MODEL.SEM_SEG_HEAD.{key}", value])
    return cfg
