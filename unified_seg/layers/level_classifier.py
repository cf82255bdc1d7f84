"""The classifier of heads that concatenate levels of several sizes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.functional.resampling import upsample_to


class LevelClassifier(nn.Conv2d):
    """A 1x1 convolution of `concatenate(levels)`, for less.

    Such a convolution is a sum over the parts, and commutes with bilinear upsampling. So each level is classified where
    it is, and K channels are upsampled instead of C.

    Args:
        level_channels: C_i, from the finest level to the coarsest.
        num_classes: K.
    """

    def __init__(self, level_channels: Sequence[int], num_classes: int):
        super().__init__(sum(level_channels), num_classes, 1)
        self.level_channels = list(level_channels)
        # Small logits: the loss starts near log K, where msra initialisation over K outputs would start at several
        # times it.
        nn.init.normal_(self.weight, std=0.01)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:  # type: ignore[override]
        """(N, C_i, h_i, w_i) from fine to coarse -> (N, K, h, w) of the finest."""
        weights = self.weight.split(self.level_channels, dim=1)
        logits = F.conv2d(levels[0], weights[0], self.bias)
        for level, weight in zip(levels[1:], weights[1:]):
            logits = logits + upsample_to(F.conv2d(level, weight), like=logits)
        return logits


def concatenate(levels: Sequence[Tensor]) -> Tensor:
    """All levels at the size of the finest: (N, C_i, h_i, w_i), from fine to coarse -> (N, sum of C_i, h, w)."""
    return torch.cat([upsample_to(level, like=levels[0]) for level in levels], dim=1)
