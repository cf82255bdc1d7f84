"""The convolution that every head of this project is made of."""

import math

import fvcore.nn.weight_init as weight_init
from detectron2.layers import Conv2d, get_norm
from torch import nn
from torch.nn import functional as F

GN_GROUPS = 32


def conv_norm(
    in_channels: int, out_channels: int, kernel_size: int, *, norm: str = "GN", stride: int = 1, dilation: int = 1
) -> Conv2d:
    """Convolution and norm; at stride 1 the size of the map stays.

    Args:
        norm: a name that Detectron2's `get_norm` knows ("GN", "BN", "SyncBN" ...), "" for none.
    """
    conv = Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=dilation * (kernel_size // 2),
        dilation=dilation,
        bias=not norm,
        norm=build_norm(norm, out_channels),
    )
    weight_init.c2_msra_fill(conv)
    return conv


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel_size: int, *, norm: str = "GN", dilation: int = 1
) -> Conv2d:
    """Convolution, norm, ReLU; the size of the map stays. Arguments as of `conv_norm`."""
    conv = conv_norm(in_channels, out_channels, kernel_size, norm=norm, dilation=dilation)
    conv.activation = F.relu
    return conv


def build_norm(norm: str, channels: int) -> nn.Module | None:
    """As Detectron2's `get_norm`, whose "GN" has 32 groups and no room for a width that they don't divide."""
    if norm != "GN" or channels % GN_GROUPS == 0:
        try:
            return get_norm(norm, channels)
        except KeyError:
            raise ValueError(
                f"there is no norm {norm!r}; BN, SyncBN, FrozenBN, GN and others of Detectron2 are"
            ) from None
    groups = math.gcd(GN_GROUPS, channels)
    # Some four channels a group: fewer say little about a map of a few bins.
    while groups > 1 and channels < 4 * groups:
        groups //= 2
    return nn.GroupNorm(groups, channels)


def two_convs(in_channels: int, out_channels: int, *, norm: str = "GN") -> nn.Sequential:
    """Two 3x3 convolutions, each with norm and ReLU."""
    return nn.Sequential(
        conv_norm_relu(in_channels, out_channels, 3, norm=norm),
        conv_norm_relu(out_channels, out_channels, 3, norm=norm),
    )


def init_classifier(conv: nn.Conv2d) -> nn.Conv2d:
    """Small logits, in place: the loss starts near log K, where msra initialization over K outputs starts far above."""
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
