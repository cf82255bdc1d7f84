"""The detail branch."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.heads.error_correction.detail_branch import DetailBranch


def inputs(height: int, width: int) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    lows = [
        torch.randn(2, channels, height // factor, width // factor, generator=generator)
        for channels, factor in ((5, 4), (4, 2), (3, 1))
    ]
    return lows, torch.randn(2, 6, height // 8, width // 8, generator=generator)


def build() -> DetailBranch:
    torch.manual_seed(0)
    return DetailBranch([5, 4, 3], 6, 8, 10, norm="").eval()


def test_blocks_go_from_the_context_to_the_finest_feature():
    branch, (lows, context) = build(), inputs(16, 24)
    first, second, third = branch.blocks
    refined = third(lows[2], second(lows[1], first(lows[0], context)))
    expected = F.conv2d(refined, branch.classifier.weight, branch.classifier.bias)
    torch.testing.assert_close(branch(lows, context), expected)
    assert expected.shape == (2, 10, 16, 24)
