"""A tiny model for tests of freezing and stages: each part of its head is trained on the predictions of another."""

from collections import OrderedDict
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, SEM_SEG_HEADS_REGISTRY, Backbone
from model_parts import without_detector
from torch import Tensor, nn

from unified_seg.heads import SemanticHead
from unified_seg.heads.base import Losses, SemanticPrediction
from unified_seg.heads.inputs import Features, HeadInputs
from unified_seg.ops.losses import mean_cross_entropy
from unified_seg.ops.resampling import upsample_to

STRIDE, CHANNELS = 4, 8
PARTS = ("base", "second", "third")


class ChainBackbone(Backbone):
    def __init__(self, cfg: CfgNode, input_shape: ShapeSpec):
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, STRIDE, STRIDE)
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Features:
        return {"map": self.dropout(self.norm(self.conv(x)))}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"map": ShapeSpec(channels=CHANNELS, stride=STRIDE)}


class ChainHead(SemanticHead):
    """`base` reads the backbone, `second` the logits of `base`, `third` those of `second`; each has a loss."""

    @configurable
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        for part, width in zip(PARTS, (CHANNELS, self.num_classes, self.num_classes)):
            layers = {"norm": nn.BatchNorm2d(width), "dropout": nn.Dropout(0.2)}
            classifier = nn.Conv2d(width, self.num_classes, 1)
            self.add_module(part, nn.Sequential(OrderedDict(**layers, classifier=classifier)))

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        return {"num_classes": head.NUM_CLASSES, "ignore_value": head.IGNORE_VALUE, "common_stride": STRIDE}

    def training_order(self) -> list[str]:
        return list(PARTS)

    def predict(self, inputs: HeadInputs) -> SemanticPrediction:
        x, logits = inputs.features["map"], {}
        for part in PARTS:
            x = logits[part] = self.get_submodule(part)(x)
            x = x.detach()
        return SemanticPrediction(logits["third"], auxiliary=logits)

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        return {
            f"loss_{part}": mean_cross_entropy(upsample_to(logits, like=targets), targets, self.ignore_value)
            for part, logits in prediction.auxiliary.items()
            if logits.requires_grad
        }


def register() -> None:
    """Register the head; not on import, since some tests run over all registered heads."""
    if "ChainHead" not in SEM_SEG_HEADS_REGISTRY:
        SEM_SEG_HEADS_REGISTRY.register(ChainHead)
        BACKBONE_REGISTRY.register(ChainBackbone)


def chain_config(cfg: CfgNode) -> CfgNode:
    """Change the config of a unified model, in place, to that of the chain model."""
    register()
    cfg.MODEL.BACKBONE.NAME = "ChainBackbone"
    without_detector(cfg)
    cfg.MODEL.SEM_SEG_HEAD.NAME, cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = "ChainHead", ["map"]
    cfg.SOLVER.WARMUP_ITERS = 0
    cfg.SEED = 3
    return cfg
