"""The head inside a wrapper: found by name, asked what its prediction looks like, and whether it learns."""

import math

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from torch import Tensor

from unified_seg.heads.base import SemanticHead, SemanticPrediction
from unified_seg.heads.build import build_semantic_head, registered_heads

IMAGE_CHANNELS = 3
# Marks the name of a wrapper in the config of what is inside it.
_INSIDE = "inside "


def build_base(cfg: CfgNode, input_shape: dict[str, ShapeSpec], node: str) -> SemanticHead:
    """The head that MODEL.SEM_SEG_HEAD.<node>.BASE names; it reads the config as it would by itself.

    Raises:
        ValueError: no name, the name of the wrapper itself or of one that it is already inside of, an unknown name.
    """
    key, name = f"MODEL.SEM_SEG_HEAD.{node}.BASE", cfg.MODEL.SEM_SEG_HEAD[node].BASE
    around = cfg.MODEL.SEM_SEG_HEAD.NAME
    if not name:
        raise ValueError(f"{key} is empty: name the head that {around} is put around, or leave {around} out")
    if name == around or name.startswith(_INSIDE):
        raise ValueError(f"{key}: {name.removeprefix(_INSIDE)} would be put around itself")
    if name not in (known := registered_heads()):
        raise ValueError(f"{key}: there is no semantic head {name!r}; known: {', '.join(sorted(known))}")
    inner = cfg.clone()
    inner.defrost()
    inner.MODEL.SEM_SEG_HEAD.NAME = name
    # Where a wrapper further inside names this one again.
    inner.MODEL.SEM_SEG_HEAD[node].BASE = _INSIDE + around
    return build_semantic_head(inner, input_shape)


@torch.no_grad()
def probe(head: SemanticHead, input_shape: dict[str, ShapeSpec]) -> SemanticPrediction:
    """The prediction of a head for two small images that are zero everywhere, to see the shapes of its parts."""
    # More than one image and one cell: torch's GroupNorm refuses a single value.
    images, side = 2, 2 * math.lcm(head.size_divisibility, *(stride_of(shape) for shape in input_shape.values()))
    features = {
        name: torch.zeros(images, shape.channels, side // stride_of(shape), side // stride_of(shape))
        for name, shape in input_shape.items()
    }
    features["image"] = torch.zeros(images, IMAGE_CHANNELS, side, side)
    features["valid"] = torch.ones(images, 1, side, side, dtype=torch.bool)
    training = head.training
    said = head.eval().predict(features)
    head.train(training)
    return said


def learns(logits: Tensor) -> bool:
    """Whether a part of the model that these depend on is trained; without gradients all losses are of interest."""
    return logits.requires_grad or not torch.is_grad_enabled()


def stride_of(shape: ShapeSpec) -> int:
    """Input pixels per pixel of a feature, which every backbone says."""
    assert shape.stride is not None
    return shape.stride
