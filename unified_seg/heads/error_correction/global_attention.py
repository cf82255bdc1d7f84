"""Global attention upsampling: a coarse map says which channels of a fine one matter, and is added to it.

N = images; (h, w) = the fine map, (h', w') = the coarse one; C_low, C_high, C = channels of the two and of the result.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.layers.conv import conv_norm, two_convs
from unified_seg.ops.resampling import upsample_to

GATES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "relu": F.relu}


class GlobalAttentionUpsample(nn.Module):
    """low * gate + high, where the gate has a value for each channel, of the mean of all of high.

    Source: Li et al., Pyramid Attention Network for Semantic Segmentation (GAU). There is no norm after the global
    pooling: normalized over itself one position would be zero whatever the input. A coarse map of another width than
    the result's is brought to it by a 1x1 convolution.

    Args:
        low_channels, high_channels, out_channels: C_low, C_high, C.
        gate: "sigmoid" or "relu"; published versions of the method disagree.
        norm: a name that Detectron2's `get_norm` knows.

    Raises:
        ValueError: an unknown gate.
    """

    def __init__(
        self, low_channels: int, high_channels: int, out_channels: int, *, gate: str = "sigmoid", norm: str = "GN"
    ):
        super().__init__()
        if gate not in GATES:
            raise ValueError(f"gate must be one of {', '.join(GATES)}, got {gate!r}")
        self.gate = GATES[gate]
        self.low = conv_norm(low_channels, out_channels, 3, norm=norm)
        self.weigh = conv_norm(high_channels, out_channels, 1, norm="")
        same = high_channels == out_channels
        self.project = nn.Identity() if same else conv_norm(high_channels, out_channels, 1, norm=norm)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(N, C_low, h, w) and (N, C_high, h', w') -> (N, C, h, w)."""
        return self.low(low) * self.attention(high) + upsample_to(self.project(high), like=low)

    def attention(self, high: Tensor) -> Tensor:
        """The gate: (N, C_high, h', w') -> (N, C, 1, 1)."""
        return self.gate(self.weigh(F.adaptive_avg_pool2d(high, 1)))


class DecoderBlock(GlobalAttentionUpsample):
    """Global attention upsampling, then two 3x3 convolutions.

    Source: the paper on erroneous pixel prediction, Figure 2. Arguments as of GlobalAttentionUpsample.
    """

    def __init__(
        self, low_channels: int, high_channels: int, out_channels: int, *, gate: str = "sigmoid", norm: str = "GN"
    ):
        super().__init__(low_channels, high_channels, out_channels, gate=gate, norm=norm)
        self.convs = two_convs(out_channels, out_channels, norm=norm)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(N, C_low, h, w) and (N, C_high, h', w') -> (N, C, h, w)."""
        return self.convs(super().forward(low, high))
