"""A decoder block at a few cells of a map."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unified_seg.heads.error_correction import sparse_block
from unified_seg.heads.error_correction.global_attention import DecoderBlock
from unified_seg.heads.error_correction.sparse_block import compute_block_at, is_sparse_enough
from unified_seg.ops.resampling import upsample_to


def build(norm: str, channels: int = 8) -> DecoderBlock:
    torch.manual_seed(0)
    block = DecoderBlock(5, 6, channels, norm=norm)
    for name, value in [*block.named_parameters(), *block.named_buffers()]:
        if value.is_floating_point() and "norm" in name:
            value.data = torch.rand_like(value) + 0.5
    return block.eval()


def maps(height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    low = torch.randn(1, 5, height, width, generator=generator)
    return low, torch.randn(1, 6, -(-height // 2), -(-width // 2), generator=generator)


@torch.no_grad()
def compute_both(block: DecoderBlock, low: Tensor, high: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return, at the cells of the mask, the results of `compute_block_at`, and of the whole block."""
    near = upsample_to(block.project(high), like=low)
    return compute_block_at(block, low[0], near[0], block.attention(high), mask), block(low, high)[0, :, mask].T


@given(height=st.integers(1, 40), width=st.integers(1, 40), share=st.sampled_from([0, 0.01, 0.2, 1]))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("norm", ["", "BN"])
def test_result_equals_the_whole_block_also_at_borders(norm: str, height: int, width: int, share: float):
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(height * width)) < share
    mask[0, 0] = mask[-1, -1] = True
    found, expected = compute_both(build(norm), *maps(height, width), mask)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_group_norm_of_all_cells_is_exact(monkeypatch: pytest.MonkeyPatch):
    """With as many samples as cells the grid is the whole map."""
    monkeypatch.setattr(sparse_block, "SAMPLES", 12 * 20)
    mask = torch.zeros(12, 20, dtype=torch.bool)
    mask[3, 4] = mask[11, 0] = True
    found, expected = compute_both(build("GN"), *maps(12, 20), mask)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_group_norm_statistics_are_estimated_from_the_whole_map():
    """The cells of the mask are bright, so that statistics of these alone would be far off."""
    block, (low, high) = build("GN"), maps(128, 256)
    low[:, :, :16, :16] *= 5
    mask = torch.zeros(128, 256, dtype=torch.bool)
    mask[4:12, 4:12] = True
    found, expected = compute_both(block, low, high, mask)
    near = upsample_to(block.project(high), like=low)
    with torch.no_grad():
        alone = block.convs(block.low(low[..., :16, :16]) * block.attention(high) + near[..., :16, :16])
    error = (found - expected).abs().mean()
    assert error < 0.2 * expected.abs().mean()
    assert error < 0.3 * (alone[0, :, 4:12, 4:12].flatten(1).T - expected).abs().mean()


def test_mask_is_sparse_enough_below_half_of_the_cells():
    mask = torch.zeros(128, 256, dtype=torch.bool)
    assert is_sparse_enough(mask)
    mask[:, ::40] = True
    assert is_sparse_enough(mask)
    # With two cells to each side 5 of every 8 columns.
    mask[:, ::8] = True
    assert not is_sparse_enough(mask)
    # The grid alone has most cells of a small map.
    assert not is_sparse_enough(torch.zeros(16, 16, dtype=torch.bool))
