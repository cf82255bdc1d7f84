"""The atrous spatial pyramid: parallel convolutions of several dilations.

Source: Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation (2018), III.B.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unified_seg.layers.conv import conv_norm_relu


class AtrousSpatialPyramid(nn.Module):
    """One 1x1 and several dilated 3x3 convolutions in parallel, concatenated and reduced by a 1x1 convolution.

    Each convolution is followed by norm and ReLU. There is no image pooling: it would tie the network to one
    input size.

    Args:
        in_channels: C.
        out_channels: C'.
        branch_channels: width of each branch.
        rates: dilations of the 3x3 branches, each at least 1.
        norm: name of a norm for Detectron2's `get_norm`.

    Raises:
        ValueError: no rate, or a rate below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        branch_channels: int = 128,
        rates: Sequence[int] = (6, 12, 18),
        norm: str = "GN",
    ):
        super().__init__()
        if not rates or min(rates) < 1:
            raise ValueError(f"dilation rates must be 1 or more, got {list(rates)}")
        branches = [conv_norm_relu(in_channels, branch_channels, 1, norm=norm)]
        branches += [conv_norm_relu(in_channels, branch_channels, 3, norm=norm, dilation=rate) for rate in rates]
        self.branches = nn.ModuleList(branches)
        self.project = conv_norm_relu(branch_channels * len(branches), out_channels, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h, w)."""
        return self.project(torch.cat([branch(x) for branch in self.branches], dim=1))
