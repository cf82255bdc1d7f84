"""Pyramid pooling of Zhao et al., Pyramid Scene Parsing Network (2017), section 3.2."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.layers.conv import conv_norm_relu
from unified_seg.ops.resampling import upsample_to

POOLS: dict[str, Callable[[Tensor, int], Tensor]] = {"average": F.adaptive_avg_pool2d, "max": F.adaptive_max_pool2d}


class PyramidPooling(nn.Module):
    """The input concatenated with the input pooled to several grids of bins, each upsampled to the input's size.

    The grid of a single bin has no norm. Normalized over itself, one position would always be zero by GroupNorm, and
    BatchNorm refuses it at batch size 1.

    Args:
        in_channels: C.
        bins: sides of the grids, in bins; () leaves the input as it is.
        pool: of the positions of a bin, "average" or "max".
        reduction: reduce each pooled map to C / len(bins) channels, so that all of them have as many as the input.
        norm: name of a norm for Detectron2's `get_norm`.

    Attributes:
        out_channels: C'.

    Raises:
        ValueError: bins that are not whole numbers of at least 1, more bins than channels, an unknown pool.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        bins: Sequence[int] = (1, 2, 3, 6),
        pool: str = "average",
        reduction: bool = True,
        norm: str = "GN",
    ):
        super().__init__()
        if not all(isinstance(side, int) and side > 0 for side in bins):
            raise ValueError(f"bins must be whole numbers of at least 1, got {list(bins)}")
        if len(bins) > in_channels:
            raise ValueError(f"{in_channels} channels can't be shared among {len(bins)} grids of bins")
        if pool not in POOLS:
            raise ValueError(f"pool must be one of {', '.join(POOLS)}, got {pool!r}")
        self.bins = tuple(bins)
        self.pool = POOLS[pool]
        width = in_channels // max(len(bins), 1)
        self.branches = nn.ModuleList(
            conv_norm_relu(in_channels, width, 1, norm="" if side == 1 else norm) if reduction else nn.Identity()
            for side in bins
        )
        self.out_channels = in_channels + len(bins) * (width if reduction else in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h, w)."""
        pooled = [branch(self.pool(x, side)) for side, branch in zip(self.bins, self.branches)]
        return torch.cat([x, *(upsample_to(each, like=x) for each in pooled)], dim=1)
