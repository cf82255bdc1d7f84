"""The semantic head of Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation (2018), III.B."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import nn

from unified_seg.heads.asp_refinement.atrous_pyramid import AtrousSpatialPyramid
from unified_seg.heads.asp_refinement.keys import add_keys
from unified_seg.heads.asp_refinement.refinement_pyramid import refine
from unified_seg.heads.base import SemanticHead, SemanticPrediction
from unified_seg.heads.inputs import HeadInputs
from unified_seg.heads.options import HeadOptions
from unified_seg.layers.conv import two_convs
from unified_seg.layers.level_conv import LevelClassifier, concatenate

# The levels, counted from the coarsest, that get the atrous spatial pyramid: P5 and P4 in the paper.
ASP_LEVELS = 2


@SEM_SEG_HEADS_REGISTRY.register()
class ASPRefinementHead(SemanticHead[SemanticPrediction]):
    """Atrous spatial pyramid on the two coarsest FPN levels, two convolutions on the others, a refinement pyramid.

    The refined levels are upsampled to the finest one, concatenated and classified by a 1x1 convolution. Without `asp`
    and `refinement` this is the paper's baseline (rows 3 and 4 of Table I).

    Args:
        options: common to all heads.
        asp: use the atrous spatial pyramid.
        asp_rates: its dilations.
        asp_branch_dim: width of its branches.
        refinement: use the refinement pyramid.

    Raises:
        ValueError: as `HeadOptions.sorted_levels`.
    """

    config_node: ClassVar[str] = "ASP_REFINEMENT"

    @configurable
    def __init__(
        self,
        options: HeadOptions,
        *,
        asp: bool = True,
        asp_rates: Sequence[int] = (6, 12, 18),
        asp_branch_dim: int = 128,
        refinement: bool = True,
    ):
        super().__init__(**options.contract)
        fine_to_coarse = options.sorted_levels()
        self.in_features = [name for name, _ in fine_to_coarse]
        self.refinement = refinement
        self.levels = nn.ModuleList()
        dim, norm = options.conv_dim, options.norm
        for index, (_, shape) in enumerate(fine_to_coarse):
            if asp and index >= len(fine_to_coarse) - ASP_LEVELS:
                level: nn.Module = AtrousSpatialPyramid(
                    shape.channels, dim, branch_channels=asp_branch_dim, rates=asp_rates, norm=norm
                )
            else:
                level = two_convs(shape.channels, dim, norm=norm)
            self.levels.append(level)
        self.classifier = LevelClassifier([dim] * len(fine_to_coarse), options.num_classes)
        self.context_channels = dim
        self.feature_channels = dim * len(fine_to_coarse)

    @classmethod
    def add_config(cls, cfg: CfgNode) -> None:
        add_keys(cfg.MODEL.SEM_SEG_HEAD)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        node = cfg.MODEL.SEM_SEG_HEAD.ASP_REFINEMENT
        return {
            "options": HeadOptions.from_config(cfg, input_shape),
            "asp": node.ASP,
            "asp_rates": node.RATES,
            "asp_branch_dim": node.BRANCH_DIM,
            "refinement": node.REFINEMENT,
        }

    def predict(self, inputs: HeadInputs) -> SemanticPrediction:
        levels = [level(inputs.features[name]) for name, level in zip(self.in_features, self.levels)]
        context = levels[-1]
        if self.refinement:
            levels = refine(levels)
        return SemanticPrediction(self.classifier(levels), context=context, make_feature=partial(concatenate, levels))
