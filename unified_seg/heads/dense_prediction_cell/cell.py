"""The dense prediction cell of Chen et al., Searching for Efficient Multi-Scale Architectures (2018).

N = images, (h, w) = the feature map.
"""

import torch
from detectron2.layers import Conv2d
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.layers.conv import build_norm, conv_norm_relu

# Of each branch: its dilation in rows and in columns, and the branch that it follows (None: the input).
BRANCHES: tuple[tuple[tuple[int, int], int | None], ...] = (
    ((1, 6), None),
    ((18, 15), 0),
    ((6, 3), 1),
    ((1, 1), 0),
    ((6, 21), 0),
)


class DensePredictionCell(nn.Module):
    """Atrous convolutions, some of which follow each other; the results of all are concatenated.

    Args:
        in_channels: C.
        branch_dim: width of each branch.
        norm: name of a norm for Detectron2's `get_norm`.

    Attributes:
        out_channels: C', five times `branch_dim`.
    """

    def __init__(self, in_channels: int, branch_dim: int = 256, *, norm: str = "GN"):
        super().__init__()
        self.branches = nn.ModuleList(
            _separable_conv(in_channels if before is None else branch_dim, branch_dim, dilation, norm)
            for dilation, before in BRANCHES
        )
        self.out_channels = len(BRANCHES) * branch_dim

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h, w)."""
        results: list[Tensor] = []
        for branch, (_, before) in zip(self.branches, BRANCHES):
            results.append(branch(x if before is None else results[before]))
        return torch.cat(results, dim=1)


def _separable_conv(in_channels: int, out_channels: int, dilation: tuple[int, int], norm: str) -> nn.Sequential:
    """Return a depthwise 3x3 convolution and a 1x1 convolution, each with norm and ReLU."""
    depthwise = Conv2d(
        in_channels,
        in_channels,
        3,
        padding=dilation,
        dilation=dilation,
        groups=in_channels,
        bias=not norm,
        norm=build_norm(norm, in_channels),
        activation=F.relu,
    )
    # An output has 9 inputs: c2_msra_fill would count those of all channels, which are not mixed.
    nn.init.kaiming_normal_(depthwise.weight, nonlinearity="relu")
    if depthwise.bias is not None:
        nn.init.zeros_(depthwise.bias)
    return nn.Sequential(depthwise, conv_norm_relu(in_channels, out_channels, 1, norm=norm))
