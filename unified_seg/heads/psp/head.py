"""The semantic head of Zhao et al., Pyramid Scene Parsing Network, with its auxiliary loss."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor

from unified_seg.heads.base import Features, Losses, SemanticPrediction, common_arguments
from unified_seg.heads.coarse_context import CoarseContextHead
from unified_seg.heads.psp.pyramid_pooling import PyramidPooling
from unified_seg.layers.conv import conv_norm_relu
from unified_seg.layers.level_conv import LevelClassifier
from unified_seg.ops.losses import mean_cross_entropy
from unified_seg.ops.resampling import upsample_to


@SEM_SEG_HEADS_REGISTRY.register()
class PSPHead(CoarseContextHead):
    """Pyramid pooling on the coarsest level; the paper's network where it is the only one.

    On the res5 of a dilated ResNet: pyramid pooling, a 3x3 convolution, dropout, the classifier (3.2). On the levels of
    an FPN the finer ones get two 3x3 convolutions and join by concatenation, as in this project's other FPN heads.
    Without bins it is the paper's baseline, the dilated FCN.

    In training an auxiliary classifier on an earlier feature has a loss of its own (3.3).

    Args:
        input_shape: channels and stride of each feature to pool or to join.
        num_classes: K.
        ignore_value: label of pixels outside the loss.
        common_stride: stride of the logits; must be that of the finest feature.
        loss_weight: factor of both losses.
        conv_dim: channels of each level before the classifier.
        norm: a name that Detectron2's `get_norm` knows.
        bins, pool, reduction: of the PyramidPooling.
        dropout: share of channels that are dropped before each classifier, 0 <= p < 1.
        auxiliary: name and shape of the feature for the auxiliary loss; None for no such loss.
        auxiliary_dim: channels of the auxiliary classifier.
        auxiliary_weight: of its loss, above 0.

    Raises:
        ValueError: `common_stride` is not the stride of the finest feature, or a value out of its range.
    """

    config_node: ClassVar[str] = "PSP"

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        num_classes: int,
        ignore_value: int = 255,
        common_stride: int = 8,
        loss_weight: float = 1.0,
        conv_dim: int = 512,
        norm: str = "GN",
        bins: Sequence[int] = (1, 2, 3, 6),
        pool: str = "average",
        reduction: bool = True,
        dropout: float = 0.1,
        auxiliary: tuple[str, ShapeSpec] | None = None,
        auxiliary_dim: int = 256,
        auxiliary_weight: float = 0.4,
    ):
        super().__init__(
            input_shape,
            partial(PyramidPooling, bins=bins, pool=pool, reduction=reduction, norm=norm),
            kernel_size=3,
            num_classes=num_classes,
            ignore_value=ignore_value,
            common_stride=common_stride,
            loss_weight=loss_weight,
            conv_dim=conv_dim,
            norm=norm,
            dropout=dropout,
        )
        self.auxiliary_feature = None
        if auxiliary is not None:
            if auxiliary_weight <= 0:
                raise ValueError(
                    "MODEL.SEM_SEG_HEAD.PSP.AUX_LOSS_WEIGHT: the weight of an auxiliary loss must be above 0, got "
                    f"{auxiliary_weight}"
                )
            self.auxiliary_feature, shape = auxiliary
            self.auxiliary_weight = auxiliary_weight
            self.auxiliary_conv = conv_norm_relu(shape.channels, auxiliary_dim, 3, norm=norm)
            self.auxiliary_classifier = LevelClassifier([auxiliary_dim], num_classes)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        psp = cfg.MODEL.SEM_SEG_HEAD.PSP
        return {
            **common_arguments(cfg, input_shape),
            "bins": psp.BINS,
            "pool": psp.POOL,
            "reduction": psp.REDUCTION,
            "dropout": psp.DROPOUT,
            "auxiliary": _auxiliary_of(psp, input_shape),
            "auxiliary_dim": psp.AUX_CONVS_DIM,
            "auxiliary_weight": psp.AUX_LOSS_WEIGHT,
        }

    def predict(self, features: Features) -> SemanticPrediction:
        prediction = super().predict(features)
        if self.auxiliary_feature is not None:
            # Not its logits: only the loss asks for them.
            prediction.auxiliary["auxiliary"] = features[self.auxiliary_feature]
        return prediction

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        losses = super().losses(prediction, targets)
        if self.auxiliary_feature is not None:
            logits = self.classify_auxiliary(prediction.auxiliary["auxiliary"])
            loss = mean_cross_entropy(upsample_to(logits.float(), like=targets), targets, self.ignore_value)
            losses["loss_sem_seg_auxiliary"] = loss * self.loss_weight * self.auxiliary_weight
        return losses

    def classify_auxiliary(self, feature: Tensor) -> Tensor:
        """The auxiliary logits (N, K, h', w') of its feature."""
        return self.auxiliary_classifier([self.dropout(self.auxiliary_conv(feature))])


def _auxiliary_of(psp: CfgNode, input_shape: dict[str, ShapeSpec]) -> tuple[str, ShapeSpec] | None:
    if psp.AUX_LOSS_WEIGHT == 0:
        return None
    if psp.AUX_FEATURE not in input_shape:
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.PSP.AUX_FEATURE: the backbone has no {psp.AUX_FEATURE!r}; it has "
            f"{', '.join(input_shape)}"
        )
    return psp.AUX_FEATURE, input_shape[psp.AUX_FEATURE]
