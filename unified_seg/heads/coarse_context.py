"""The base of heads that gather context over the whole scene on their coarsest level."""

from collections.abc import Callable
from functools import partial

from torch import nn

from unified_seg.heads.base import SemanticHead, SemanticPrediction
from unified_seg.heads.inputs import HeadInputs
from unified_seg.heads.options import HeadOptions
from unified_seg.layers.conv import conv_norm_relu, two_convs
from unified_seg.layers.level_conv import LevelClassifier, concatenate


class CoarseContextHead(SemanticHead[SemanticPrediction]):
    """A context module and a convolution on the coarsest level; two 3x3 convolutions on each finer one, if any.

    The levels are joined by concatenation, as in this project's other FPN heads, and classified by a 1x1 convolution
    after dropout.

    Args:
        options: common to all heads.
        make_context: builds the context module for a number of input channels; it has `out_channels`.
        kernel_size: of the convolution that brings the context to `conv_dim` channels.
        dropout: share of channels that are dropped before the classifier, in [0, 1).

    Raises:
        ValueError: as `HeadOptions.sorted_levels`, or a value out of its range.
    """

    def __init__(
        self, options: HeadOptions, make_context: Callable[[int], nn.Module], *, kernel_size: int, dropout: float
    ):
        super().__init__(**options.contract)
        key = f"MODEL.SEM_SEG_HEAD.{self.config_node}"
        if not 0 <= dropout < 1:
            raise ValueError(f"{key}.DROPOUT must be in [0, 1), got {dropout}")
        *finer, (coarsest, coarsest_shape) = options.sorted_levels()
        self.in_features = [*(name for name, _ in finer), coarsest]
        try:
            context = make_context(coarsest_shape.channels)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        dim, norm = options.conv_dim, options.norm
        self.levels = nn.ModuleList(two_convs(shape.channels, dim, norm=norm) for _, shape in finer)
        join = conv_norm_relu(context.out_channels, dim, kernel_size, norm=norm)  # type: ignore[arg-type]
        self.levels.append(nn.Sequential(context, join))
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = LevelClassifier([dim] * len(self.levels), options.num_classes)
        self.context_channels = dim
        self.feature_channels = dim * len(self.levels)

    def predict(self, inputs: HeadInputs) -> SemanticPrediction:
        levels = [level(inputs.features[name]) for name, level in zip(self.in_features, self.levels)]
        return SemanticPrediction(
            self.classifier([self.dropout(level) for level in levels]),
            context=levels[-1],
            make_feature=partial(concatenate, levels),
        )
