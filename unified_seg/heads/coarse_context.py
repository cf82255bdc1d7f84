"""What heads share that look at the whole scene on their coarsest level."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from detectron2.layers import ShapeSpec
from torch import nn

from unified_seg.heads.base import Features, SemanticHead, SemanticPrediction, sort_levels
from unified_seg.layers.conv import conv_norm_relu, two_convs
from unified_seg.layers.level_conv import LevelClassifier, concatenate


class CoarseContextHead(SemanticHead):
    """A module of context on the coarsest level, and a convolution; two 3x3 convolutions on each finer one, if any.

    The levels join by concatenation, as in this project's other FPN heads, and are classified by a 1x1 convolution
    after dropout.

    Args:
        input_shape: channels and stride of each feature.
        make_context: builds the module of context for a number of channels; its `out_channels` says what it gives.
        kernel_size: of the convolution that brings the context to `conv_dim`.
        num_classes: K.
        ignore_value: label of pixels outside the loss.
        common_stride: stride of the logits; must be that of the finest feature.
        loss_weight: factor of the loss.
        conv_dim: channels of each level before the classifier.
        norm: a name that Detectron2's `get_norm` knows.
        dropout: share of channels that are dropped before the classifier, 0 <= p < 1.

    Raises:
        ValueError: `common_stride` is not the stride of the finest feature, or a value out of its range.
    """

    #: The head's own node below MODEL.SEM_SEG_HEAD, for its errors.
    config_node: ClassVar[str]

    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        make_context: Callable[[int], nn.Module],
        *,
        kernel_size: int,
        num_classes: int,
        ignore_value: int,
        common_stride: int,
        loss_weight: float,
        conv_dim: int,
        norm: str,
        dropout: float,
    ):
        super().__init__(
            num_classes=num_classes, ignore_value=ignore_value, common_stride=common_stride, loss_weight=loss_weight
        )
        key = f"MODEL.SEM_SEG_HEAD.{self.config_node}"
        if not 0 <= dropout < 1:
            raise ValueError(f"{key}.DROPOUT must be 0 to 1, without 1, got {dropout}")
        *finer, (coarsest, coarsest_shape) = sort_levels(input_shape, common_stride)
        self.in_features = [*(name for name, _ in finer), coarsest]
        try:
            context = make_context(coarsest_shape.channels)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        self.levels = nn.ModuleList(two_convs(shape.channels, conv_dim, norm=norm) for _, shape in finer)
        join = conv_norm_relu(context.out_channels, conv_dim, kernel_size, norm=norm)  # type: ignore[arg-type]
        self.levels.append(nn.Sequential(context, join))
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = LevelClassifier([conv_dim] * len(self.levels), num_classes)

    def predict(self, features: Features) -> SemanticPrediction:
        levels = [level(features[name]) for name, level in zip(self.in_features, self.levels)]
        return SemanticPrediction(
            self.classifier([self.dropout(level) for level in levels]),
            context=levels[-1],
            make_feature=partial(concatenate, levels),
        )
