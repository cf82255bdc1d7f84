"""The semantic head of Zhao et al., Pyramid Scene Parsing Network, with its auxiliary loss."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from unified_seg.functional.pixel_losses import mean_cross_entropy
from unified_seg.functional.resampling import upsample_to
from unified_seg.heads.base import Features, Losses, SemanticHead, SemanticPrediction, common_arguments, sort_levels
from unified_seg.layers.conv import conv_norm_relu, two_convs
from unified_seg.layers.level_conv import LevelClassifier, concatenate
from unified_seg.layers.pyramid_pooling import PyramidPooling


@SEM_SEG_HEADS_REGISTRY.register()
class PSPHead(SemanticHead):
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
            num_classes=num_classes, ignore_value=ignore_value, common_stride=common_stride, loss_weight=loss_weight
        )
        if not 0 <= dropout < 1:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.PSP.DROPOUT must be 0 to 1, without 1, got {dropout}")
        *finer, (coarsest, coarsest_shape) = sort_levels(input_shape, common_stride)
        self.in_features = [*(name for name, _ in finer), coarsest]
        try:
            pooling = PyramidPooling(coarsest_shape.channels, bins=bins, pool=pool, reduction=reduction, norm=norm)
        except ValueError as error:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.PSP: {error}") from None
        self.levels = nn.ModuleList(two_convs(shape.channels, conv_dim, norm=norm) for _, shape in finer)
        self.levels.append(nn.Sequential(pooling, conv_norm_relu(pooling.out_channels, conv_dim, 3, norm=norm)))
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = LevelClassifier([conv_dim] * len(self.levels), num_classes)
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
        levels = [level(features[name]) for name, level in zip(self.in_features, self.levels)]
        return SemanticPrediction(
            self.classifier([self.dropout(level) for level in levels]),
            context=levels[-1],
            # Not its logits: only the loss asks for them.
            auxiliary={} if self.auxiliary_feature is None else {"auxiliary": features[self.auxiliary_feature]},
            make_feature=partial(concatenate, levels),
        )

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
