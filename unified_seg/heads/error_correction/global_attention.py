"""Global attention upsampling: a coarse map weighs the channels of a fine one and is added to it.

Sources: Li et al., Pyramid Attention Network for Semantic Segmentation (2018), section 3.3; Gong et al., Erroneous
pixel prediction for semantic image segmentation (2022), Figure 2.
N = images; (h, w) = the fine map, (h', w') = the coarse one; C_low, C_high, C = channels of the two and of the result.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.layers.conv import conv_norm, two_convs
from unified_seg.ops.resampling import upsample_to


class GlobalAttentionUpsample(nn.Module):
    """low * gate + high, where the gate has a value for each channel, computed from the mean of high.

    Published versions have a sigmoid or a ReLU as the gate; this one has a sigmoid. There is no norm after the global
    pooling: normalized over itself, one position would always be zero. A coarse map of another width than
    the result's is projected to it by a 1x1 convolution.

    Args:
        low_channels, high_channels, out_channels: C_low, C_high, C.
        norm: name of a norm for Detectron2's `get_norm`.
    """

    def __init__(self, low_channels: int, high_channels: int, out_channels: int, *, norm: str = "GN"):
        super().__init__()
        self.low = conv_norm(low_channels, out_channels, 3, norm=norm)
        self.weigh = conv_norm(high_channels, out_channels, 1, norm="")
        same = high_channels == out_channels
        self.project = nn.Identity() if same else conv_norm(high_channels, out_channels, 1, norm=norm)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(N, C_low, h, w) and (N, C_high, h', w') -> (N, C, h, w)."""
        return self.low(low) * self.attention(high) + upsample_to(self.project(high), like=low)

    def attention(self, high: Tensor) -> Tensor:
        """Return the gate, (N, C, 1, 1), of (N, C_high, h', w')."""
        return torch.sigmoid(self.weigh(F.adaptive_avg_pool2d(high, 1)))


class DecoderBlock(GlobalAttentionUpsample):
    """Global attention upsampling, then two 3x3 convolutions; arguments: see GlobalAttentionUpsample."""

    def __init__(self, low_channels: int, high_channels: int, out_channels: int, *, norm: str = "GN"):
        super().__init__(low_channels, high_channels, out_channels, norm=norm)
        self.convs = two_convs(out_channels, out_channels, norm=norm)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(N, C_low, h, w) and (N, C_high, h', w') -> (N, C, h, w)."""
        return self.convs(super().forward(low, high))
