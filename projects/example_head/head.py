"""A semantic head outside the tree: the whole of it. Import this file and name it in a config."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import nn

from unified_seg.heads import HeadInputs, SemanticHead, SemanticPrediction
from unified_seg.ops.resampling import upsample_to


@SEM_SEG_HEADS_REGISTRY.register()
class LinearHead(SemanticHead):
    """Concatenates all features at the finest one's size and classifies each pixel by a 1x1 convolution."""

    @configurable
    def __init__(self, input_shape: dict[str, ShapeSpec], **contract: Any):
        super().__init__(**contract)
        self.in_features = sorted(input_shape, key=lambda name: input_shape[name].stride)
        self.classifier = nn.Conv2d(sum(s.channels for s in input_shape.values()), self.num_classes, 1)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        used = {name: input_shape[name] for name in head.IN_FEATURES}
        stride = min(shape.stride for shape in used.values())
        contract = {"num_classes": head.NUM_CLASSES, "ignore_value": head.IGNORE_VALUE, "common_stride": stride}
        return {"input_shape": used, "loss_weight": head.LOSS_WEIGHT, **contract}

    def predict(self, inputs: HeadInputs) -> SemanticPrediction:
        levels = [inputs.features[name] for name in self.in_features]
        feature = torch.cat([upsample_to(level, like=levels[0]) for level in levels], dim=1)
        return SemanticPrediction(self.classifier(feature), make_feature=lambda: feature)
