"""The semantic head of Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation, section III.B."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import nn

from unified_seg.heads.asp_refinement.atrous_pyramid import AtrousSpatialPyramid
from unified_seg.heads.asp_refinement.refinement_pyramid import refinement_pyramid
from unified_seg.heads.base import Features, SemanticHead, SemanticPrediction, common_arguments, sort_levels
from unified_seg.layers.conv import two_convs
from unified_seg.layers.level_conv import LevelClassifier, concatenate

# The levels, counted from the coarsest, that get the atrous spatial pyramid: P5 and P4 in the paper.
ASP_LEVELS = 2


@SEM_SEG_HEADS_REGISTRY.register()
class ASPRefinementHead(SemanticHead):
    """Atrous spatial pyramid on the two coarsest FPN levels, two convolutions on the others, a refinement pyramid.

    The refined levels are upsampled to the finest one, concatenated and classified by a 1x1 convolution. Without `asp`
    and `refinement` this is the paper's baseline (rows 3 and 4 of Table I).

    Args:
        input_shape: channels and stride of each feature to use.
        num_classes: K.
        ignore_value: label of pixels outside the loss.
        common_stride: stride of the logits; must be that of the finest feature.
        loss_weight: factor of the loss.
        conv_dim: channels of each level.
        norm: a name that Detectron2's `get_norm` knows.
        asp: use the atrous spatial pyramid.
        asp_rates: its dilations.
        asp_branch_dim: width of its branches.
        refinement: use the refinement pyramid.

    Raises:
        ValueError: `common_stride` is not the stride of the finest feature.
    """

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        num_classes: int,
        ignore_value: int = 255,
        common_stride: int = 4,
        loss_weight: float = 1.0,
        conv_dim: int = 128,
        norm: str = "GN",
        asp: bool = True,
        asp_rates: Sequence[int] = (6, 12, 18),
        asp_branch_dim: int = 128,
        refinement: bool = True,
    ):
        super().__init__(
            num_classes=num_classes, ignore_value=ignore_value, common_stride=common_stride, loss_weight=loss_weight
        )
        fine_to_coarse = sort_levels(input_shape, common_stride)
        self.in_features = [name for name, _ in fine_to_coarse]
        self.refinement = refinement
        self.levels = nn.ModuleList()
        for index, (_, shape) in enumerate(fine_to_coarse):
            if asp and index >= len(fine_to_coarse) - ASP_LEVELS:
                level: nn.Module = AtrousSpatialPyramid(
                    shape.channels, conv_dim, branch_channels=asp_branch_dim, rates=asp_rates, norm=norm
                )
            else:
                level = two_convs(shape.channels, conv_dim, norm=norm)
            self.levels.append(level)
        self.classifier = LevelClassifier([conv_dim] * len(fine_to_coarse), num_classes)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        node = cfg.MODEL.SEM_SEG_HEAD.ASP_REFINEMENT
        return {
            **common_arguments(cfg, input_shape),
            "asp": node.ASP,
            "asp_rates": node.RATES,
            "asp_branch_dim": node.BRANCH_DIM,
            "refinement": node.REFINEMENT,
        }

    def predict(self, features: Features) -> SemanticPrediction:
        levels = [level(features[name]) for name, level in zip(self.in_features, self.levels)]
        context = levels[-1]
        if self.refinement:
            levels = refinement_pyramid(levels)
        return SemanticPrediction(self.classifier(levels), context=context, make_feature=partial(concatenate, levels))
