"""A 1x1 convolution of feature levels of several sizes, equal to that of their concatenation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.layers.conv import init_classifier
from unified_seg.ops.resampling import upsample_to


class LevelConv(nn.Conv2d):
    """A 1x1 convolution of `concatenate(levels)`, without concatenating them.

    The convolution is a sum over the levels, and commutes with bilinear upsampling. So each level is convolved at its
    own size, and C' channels are upsampled instead of C.

    Args:
        level_channels: C_i, from the finest level to the coarsest.
        out_channels: C'.
        bias: whether to add a bias.
    """

    def __init__(self, level_channels: Sequence[int], out_channels: int, *, bias: bool = True):
        super().__init__(sum(level_channels), out_channels, 1, bias=bias)
        self.level_channels = list(level_channels)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:  # type: ignore[override]
        """Convolve levels (N, C_i, h_i, w_i), from fine to coarse: (N, C', h, w) at the size of the finest."""
        weights = self.weight.split(self.level_channels, dim=1)
        result = F.conv2d(levels[0], weights[0], self.bias)
        for level, weight in zip(levels[1:], weights[1:]):
            result = result + upsample_to(F.conv2d(level, weight), like=result)
        return result


class LevelClassifier(LevelConv):
    """A `LevelConv` as a classifier.

    Args:
        level_channels: C_i, from the finest level to the coarsest.
        num_classes: K.
    """

    def __init__(self, level_channels: Sequence[int], num_classes: int):
        super().__init__(level_channels, num_classes)
        init_classifier(self)


def concatenate(levels: Sequence[Tensor]) -> Tensor:
    """Upsample levels (N, C_i, h_i, w_i), from fine to coarse, to the finest and concatenate: (N, sum of C_i, h, w)."""
    return torch.cat([upsample_to(level, like=levels[0]) for level in levels], dim=1)
