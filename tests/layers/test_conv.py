import pytest
import torch
from torch import nn

from unified_seg.layers.conv import conv_norm_relu


@pytest.mark.parametrize(
    ("channels", "groups"),
    # 32 as in Detectron2 if they divide the width; else a power of two that does, with about four channels per group.
    [(32, 32), (128, 32), (16, 4), (48, 8), (33, 1), (8, 2), (4, 1), (2, 1), (1, 1)],
)
def test_group_norm_adapts_its_groups_to_the_width(channels: int, groups: int) -> None:
    conv = conv_norm_relu(8, channels, 1)
    assert isinstance(conv.norm, nn.GroupNorm)
    assert (conv.norm.num_groups, conv.norm.num_channels) == (groups, channels)
    assert conv(torch.randn(1, 8, 3, 3)).shape == (1, channels, 3, 3)


def test_other_norms_come_from_detectron2() -> None:
    assert isinstance(conv_norm_relu(8, 6, 3, norm="BN").norm, nn.BatchNorm2d)
    with pytest.raises(ValueError, match="'GNN'"):
        conv_norm_relu(8, 6, 3, norm="GNN")
    plain = conv_norm_relu(8, 6, 3, norm="")
    assert plain.norm is None and plain.bias is not None
