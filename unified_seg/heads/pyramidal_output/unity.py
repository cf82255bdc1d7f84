"""The unity pyramid: which cells of each level hold one class.

Source: Hsiao et al., Specialize and Fuse: Pyramidal Output Representation for Semantic Segmentation (2021), 4.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.layers.conv import build_norm
from unified_seg.layers.level_conv import LevelConv


class UnityPyramid(nn.Module):
    """A comparison of every position with the centroid of its cell; the most deviating position decides for the cell.

    In the paper a shared 1x1 convolution brings the D_u channels of the difference between position and centroid to
    one. Everything from the embedding to there is linear, so each position needs two numbers only, its own and its
    share of the centroid, which are pooled and subtracted: the same result, without a map of D_u channels per level.
    The paper leaves open whether the first convolution has a norm; here it has one, and a ReLU.

    Args:
        level_channels: of the features, from the finest level to the coarsest; their sum is D.
        channels: D_u.
        factors: finest positions along the side of a cell, for each level that has unity, from coarse to fine.
        norm: name of a norm for Detectron2's `get_norm`.
    """

    def __init__(self, level_channels: Sequence[int], channels: int, *, factors: Sequence[int], norm: str = "GN"):
        super().__init__()
        self.factors = tuple(factors)
        self.embed = LevelConv(level_channels, channels, bias=not norm)
        self.norm = build_norm(norm, channels) or nn.Identity()
        self.position = nn.Conv2d(channels, channels, 1)
        self.centroid = nn.Conv2d(channels, channels, 1)
        self.compare = nn.Conv2d(channels, 1, 1)

    def forward(self, levels: Sequence[Tensor], valid: Tensor | None = None) -> list[Tensor]:
        """Return the logits (N, h / factor, w / factor) of each level, from coarse to fine.

        Args:
            levels: (N, C_i, h_i, w_i) from fine to coarse; h and w of the finest are multiples of every factor.
            valid: (N, 1, h, w) 0 or 1, the finest positions that count; None for all. The logit of a cell without such
                a position is undefined.
        """
        assert self.compare.bias is not None
        embedded = F.relu(self.norm(self.embed(levels)))
        parts = [self._compose(conv) for conv in (self.position, self.centroid)]
        weight, bias = (torch.cat(each) for each in zip(*parts))
        positions, centroids = F.conv2d(embedded, weight, bias).split(1, dim=1)
        if valid is not None:
            positions = positions.masked_fill(valid == 0, float("inf"))
            centroids = centroids * valid
        result = []
        for factor in self.factors:
            means = F.avg_pool2d(centroids, factor)
            if valid is not None:
                means = means / F.avg_pool2d(valid.to(means.dtype), factor).clamp(min=1 / factor**2)
            # Within a cell the centroid is constant, so the smallest difference is that of the smallest position.
            smallest = -F.max_pool2d(-positions, factor)
            result.append((smallest - means)[:, 0] + self.compare.bias)
        return result

    def _compose(self, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
        """Return weight (1, D_u, 1, 1) and bias (1,) of a convolution followed by `compare` without its bias."""
        assert conv.bias is not None
        weight = self.compare.weight.flatten(1)
        return (weight @ conv.weight.flatten(1))[:, :, None, None], F.linear(conv.bias, weight)
