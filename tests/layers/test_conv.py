import pytest
import torch
from torch import nn

from unified_seg.layers.conv import conv_norm_relu


@pytest.mark.parametrize(
    ("channels", "groups"),
    # 32 as Detectron2 wherever they divide the width; else a power of two that does, with four channels a group or so.
    [(32, 32), (128, 32), (16, 4), (48, 8), (33, 1), (8, 2), (4, 1), (2, 1), (1, 1)],
)
def test_groups_of_group_norm(channels: int, groups: int) -> None:
    conv = conv_norm_relu(8, channels, 1)
    assert isinstance(conv.norm, nn.GroupNorm)
    assert (conv.norm.num_groups, conv.norm.num_channels) == (groups, channels)
    assert conv(torch.randn(1, 8, 3, 3)).shape == (1, channels, 3, 3)


def test_other_norms_are_detectron2s() -> None:
    assert isinstance(conv_norm_relu(8, 6, 3, norm="BN").norm, nn.BatchNorm2d)
    with pytest.raises(ValueError, match="there is no norm 'GNN'"):
        conv_norm_relu(8, 6, 3, norm="GNN")
    plain = conv_norm_relu(8, 6, 3, norm="")
    assert plain.norm is None and plain.bias is not None
