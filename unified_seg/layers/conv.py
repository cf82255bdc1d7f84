"""Convolutions with norm and ReLU, and the initialization of classifiers."""

import math

import fvcore.nn.weight_init as weight_init
from detectron2.layers import Conv2d, get_norm
from torch import nn
from torch.nn import functional as F

GN_GROUPS = 32


def conv_norm(
    in_channels: int, out_channels: int, kernel_size: int, *, norm: str = "GN", stride: int = 1, dilation: int = 1
) -> Conv2d:
    """Build a convolution with norm; at stride 1 it keeps the size of the map.

    Args:
        norm: a name for Detectron2's `get_norm` ("GN", "BN", "SyncBN" ...), or "" for no norm.
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
    """Build a convolution with norm and ReLU, which keeps the size of the map; see `conv_norm` for the arguments."""
    conv = conv_norm(in_channels, out_channels, kernel_size, norm=norm, dilation=dilation)
    conv.activation = F.relu
    return conv


def build_norm(norm: str, channels: int) -> nn.Module | None:
    """Build a norm as Detectron2's `get_norm` does, whose "GN" has 32 groups, with fewer groups for narrow layers.

    Raises:
        ValueError: Detectron2 has no norm of this name.
    """
    if norm != "GN" or channels % GN_GROUPS == 0:
        try:
            return get_norm(norm, channels)
        except KeyError:
            raise ValueError(
                f"unknown norm {norm!r}; use BN, SyncBN, FrozenBN, GN or another one of Detectron2's get_norm"
            ) from None
    groups = math.gcd(GN_GROUPS, channels)
    # At least about four channels per group: the statistics of fewer are unreliable on maps of a few cells.
    while groups > 1 and channels < 4 * groups:
        groups //= 2
    return nn.GroupNorm(groups, channels)


def two_convs(in_channels: int, out_channels: int, *, norm: str = "GN") -> nn.Sequential:
    """Build two 3x3 convolutions, each with norm and ReLU."""
    return nn.Sequential(
        conv_norm_relu(in_channels, out_channels, 3, norm=norm),
        conv_norm_relu(out_channels, out_channels, 3, norm=norm),
    )


def init_classifier(conv: nn.Conv2d) -> nn.Conv2d:
    """Initialize a classifier of K classes in place with small logits, so that the loss starts near log K."""
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
