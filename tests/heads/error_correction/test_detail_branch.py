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


@torch.no_grad()
def test_masked_prediction_equals_the_whole_one_in_the_mask():
    """The mask of the second image has so many cells that all are computed."""
    branch, (lows, context) = build(), inputs(128, 256)
    mask = torch.zeros(2, 1, 128, 256, dtype=torch.bool)
    mask[0, 0, 5:9, 7] = mask[1, 0, ::2] = True
    whole, found = branch(lows, context), branch.predict_masked(lows, context, mask)
    torch.testing.assert_close(found[0][:, mask[0, 0]], whole[0][:, mask[0, 0]], rtol=1e-4, atol=1e-6)
    assert not found[0][:, ~mask[0, 0]].any()
    torch.testing.assert_close(found[1], whole[1])
    assert not branch.predict_masked(lows, context, torch.zeros_like(mask)).any()
