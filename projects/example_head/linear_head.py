"""A semantic head outside the tree, complete in this file."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import nn

from unified_seg.heads import HeadInputs, HeadOptions, SemanticHead, SemanticPrediction
from unified_seg.ops.resampling import upsample_to


@SEM_SEG_HEADS_REGISTRY.register()
class LinearHead(SemanticHead):
    """Concatenates all features at the finest one's size and classifies each pixel by a 1x1 convolution."""

    @configurable
    def __init__(self, options: HeadOptions):
        super().__init__(**options.contract)
        levels = options.sorted_levels()
        self.in_features = [name for name, _ in levels]
        self.feature_channels = sum(shape.channels for _, shape in levels)
        self.classifier = nn.Conv2d(self.feature_channels, options.num_classes, 1)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        return {"options": HeadOptions.from_config(cfg, input_shape)}

    def predict(self, inputs: HeadInputs) -> SemanticPrediction:
        levels = [inputs.features[name] for name in self.in_features]
        feature = torch.cat([upsample_to(level, like=levels[0]) for level in levels], dim=1)
        return SemanticPrediction(self.classifier(feature), make_feature=lambda: feature)
