"""Attention to a few pooled tokens, and the two modules that carry context from coarse to fine levels.

Source: Hsiao et al., Specialize and Fuse: Pyramidal Output Representation for Semantic Segmentation (2021), 4.2.
N = images, D = channels, T = tokens, (h, w) = a map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.layers.conv import conv_norm_relu

# 1 + 9 + 36 + 64 = 110 tokens (Hsiao et al., equation 6; ANL's too).
TOKEN_BINS = (1, 3, 6, 8)


def pool_tokens(x: Tensor, bins: Sequence[int] = TOKEN_BINS) -> Tensor:
    """Average the map to grids of bins, flattened and concatenated (PyramidPool).

    Args:
        x: (N, D, h, w).
        bins: sides of the grids.

    Returns:
        (N, D, T, 1), T the sum of the squares of `bins`.
    """
    return torch.cat([F.adaptive_avg_pool2d(x, side).flatten(2) for side in bins], dim=2).unsqueeze(3)


class ContextAggregation(nn.Module):
    """CA: cross-attention from positions to pooled tokens, concatenated with the input.

    Source: equations 8 and 9. With the tokens of the map itself this is the block of ANL (Zhu et al., Asymmetric
    Non-local Neural Networks, 2019), with one key per pooled token. The paper leaves the width of queries and keys
    open; half of D is what non-local networks use.

    Args:
        channels: D.
        norm: name of a norm for Detectron2's `get_norm`.
    """

    def __init__(self, channels: int, *, norm: str = "GN"):
        super().__init__()
        width = max(channels // 2, 1)
        self.query = nn.Conv2d(channels, width, 1)
        self.key = nn.Conv2d(channels, width, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.aggregate = conv_norm_relu(2 * channels, channels, 1, norm=norm)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """(N, D, h, w) and tokens (N, D, T, 1) -> (N, D, h, w)."""
        query, key, value = (to_sequence(y) for y in (self.query(x), self.key(tokens), self.value(tokens)))
        # A single attention head: (N, positions, width) against (N, tokens, width).
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.aggregate(torch.cat([attended.transpose(1, 2).reshape(x.shape), x], dim=1))


class ContextUpdate(nn.Module):
    """CU: the tokens are updated with the pooled tokens of a refined level. Source: equations 10 and 11.

    Args:
        channels: D.
        norm: name of a norm for Detectron2's `get_norm`.
    """

    def __init__(self, channels: int, *, norm: str = "GN"):
        super().__init__()
        self.update = conv_norm_relu(2 * channels, channels, 1, norm=norm)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """(N, D, h, w) and tokens (N, D, T, 1) -> tokens (N, D, T, 1)."""
        return self.update(torch.cat([pool_tokens(x), tokens], dim=1))


def to_sequence(x: Tensor) -> Tensor:
    """(N, D, h, w) -> (N, h * w, D)."""
    return x.flatten(2).transpose(1, 2)
