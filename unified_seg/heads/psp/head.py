"""The semantic head of Zhao et al., Pyramid Scene Parsing Network (2017), with its auxiliary loss."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor

from unified_seg.heads.base import Losses, SemanticPrediction
from unified_seg.heads.coarse_context import CoarseContextHead
from unified_seg.heads.inputs import HeadInputs
from unified_seg.heads.options import HeadOptions
from unified_seg.heads.psp.keys import add_keys
from unified_seg.heads.psp.pyramid_pooling import PyramidPooling
from unified_seg.layers.conv import conv_norm_relu
from unified_seg.layers.level_conv import LevelClassifier
from unified_seg.ops.losses import mean_cross_entropy
from unified_seg.ops.resampling import upsample_to


@SEM_SEG_HEADS_REGISTRY.register()
class PSPHead(CoarseContextHead):
    """Pyramid pooling on the coarsest level; the paper's network if that is the only level.

    On the res5 of a dilated ResNet: pyramid pooling, a 3x3 convolution, dropout, the classifier (3.2). On the levels of
    an FPN the finer ones get two 3x3 convolutions and are joined by concatenation, as in this project's other FPN
    heads. Without bins it is the paper's baseline, the dilated FCN.

    In training an auxiliary classifier on an earlier feature has a loss of its own (3.3).

    Args:
        options: common to all heads.
        bins, pool, reduction: of the PyramidPooling.
        dropout: share of channels that are dropped before each classifier, in [0, 1).
        auxiliary: name and shape of the feature for the auxiliary loss; None for no such loss.
        auxiliary_dim: channels of the auxiliary classifier.
        auxiliary_weight: of its loss, above 0.

    Raises:
        ValueError: as CoarseContextHead, or an auxiliary weight that is not above 0.
    """

    config_node: ClassVar[str] = "PSP"

    @configurable
    def __init__(
        self,
        options: HeadOptions,
        *,
        bins: Sequence[int] = (1, 2, 3, 6),
        pool: str = "average",
        reduction: bool = True,
        dropout: float = 0.1,
        auxiliary: tuple[str, ShapeSpec] | None = None,
        auxiliary_dim: int = 256,
        auxiliary_weight: float = 0.4,
    ):
        make_pooling = partial(PyramidPooling, bins=bins, pool=pool, reduction=reduction, norm=options.norm)
        super().__init__(options, make_pooling, kernel_size=3, dropout=dropout)
        self.auxiliary_feature = None
        if auxiliary is not None:
            if auxiliary_weight <= 0:
                raise ValueError(f"MODEL.SEM_SEG_HEAD.PSP.AUX_LOSS_WEIGHT must be above 0, got {auxiliary_weight}")
            self.auxiliary_feature, shape = auxiliary
            self.auxiliary_weight = auxiliary_weight
            self.auxiliary_conv = conv_norm_relu(shape.channels, auxiliary_dim, 3, norm=options.norm)
            self.auxiliary_classifier = LevelClassifier([auxiliary_dim], options.num_classes)

    @classmethod
    def add_config(cls, cfg: CfgNode) -> None:
        add_keys(cfg.MODEL.SEM_SEG_HEAD)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        psp = cfg.MODEL.SEM_SEG_HEAD.PSP
        return {
            "options": HeadOptions.from_config(cfg, input_shape),
            "bins": psp.BINS,
            "pool": psp.POOL,
            "reduction": psp.REDUCTION,
            "dropout": psp.DROPOUT,
            "auxiliary": _find_auxiliary(psp, input_shape),
            "auxiliary_dim": psp.AUX_CONVS_DIM,
            "auxiliary_weight": psp.AUX_LOSS_WEIGHT,
        }

    def predict(self, inputs: HeadInputs) -> SemanticPrediction:
        prediction = super().predict(inputs)
        if self.auxiliary_feature is not None:
            # The feature, not its logits, which only the loss needs.
            prediction.auxiliary["auxiliary"] = inputs.features[self.auxiliary_feature]
        return prediction

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        losses = super().losses(prediction, targets)
        if self.auxiliary_feature is not None:
            logits = self.classify_auxiliary(prediction.auxiliary["auxiliary"])
            loss = mean_cross_entropy(upsample_to(logits.float(), like=targets), targets, self.ignore_value)
            losses["loss_sem_seg_auxiliary"] = loss * self.loss_weight * self.auxiliary_weight
        return losses

    def classify_auxiliary(self, feature: Tensor) -> Tensor:
        """Return the auxiliary logits (N, K, h', w') of the auxiliary feature."""
        return self.auxiliary_classifier([self.dropout(self.auxiliary_conv(feature))])


def _find_auxiliary(psp: CfgNode, input_shape: dict[str, ShapeSpec]) -> tuple[str, ShapeSpec] | None:
    if psp.AUX_LOSS_WEIGHT == 0:
        return None
    if psp.AUX_FEATURE not in input_shape:
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.PSP.AUX_FEATURE: the backbone has no {psp.AUX_FEATURE!r}; it has "
            f"{', '.join(input_shape)}"
        )
    return psp.AUX_FEATURE, input_shape[psp.AUX_FEATURE]
