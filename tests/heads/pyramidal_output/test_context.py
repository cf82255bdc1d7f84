import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.heads.pyramidal_output.context import TOKEN_BINS, ContextAggregation, ContextUpdate, pool_tokens


def convolve(conv: torch.nn.Module, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to (D, T) as a matrix product."""
    return conv.weight[:, :, 0, 0] @ x + conv.bias[:, None]


def test_tokens_are_the_means_of_bins() -> None:
    x = torch.randn(2, 3, 12, 24, generator=torch.Generator().manual_seed(0))
    tokens = pool_tokens(x)
    assert tokens.shape == (2, 3, 110, 1)  # 1 + 9 + 36 + 64
    torch.testing.assert_close(tokens[:, :, 0, 0], x.mean((2, 3)))
    # The second of the 3 x 3 bins: rows 0 to 3, columns 8 to 15.
    torch.testing.assert_close(tokens[:, :, 2, 0], x[:, :, :4, 8:16].mean((2, 3)))
    # The last of the 6 x 6 bins: rows 10 and 11, columns 20 to 23.
    torch.testing.assert_close(tokens[:, :, 1 + 9 + 35, 0], x[:, :, 10:, 20:].mean((2, 3)))


@pytest.mark.parametrize("size", [(1, 1), (4, 8), (5, 3)])
def test_maps_smaller_than_the_grids_have_all_tokens(size: tuple[int, int]) -> None:
    assert pool_tokens(torch.randn(1, 2, *size)).shape == (1, 2, sum(b * b for b in TOKEN_BINS), 1)


def test_aggregation_equals_equations_8_and_9() -> None:
    torch.manual_seed(0)
    block = ContextAggregation(8, norm="").eval()
    x, tokens = torch.randn(2, 8, 3, 5), torch.randn(2, 8, 7, 1)
    result = block(x, tokens)
    for image in range(2):
        positions, pooled = x[image].flatten(1), tokens[image, :, :, 0]
        query, key, value = convolve(block.query, positions), convolve(block.key, pooled), convolve(block.value, pooled)
        # Scaled by the root of the width of queries, 8 / 2 = 4.
        shares = (query.T @ key / math.sqrt(4)).softmax(dim=1)
        attended = value @ shares.T
        joined = convolve(block.aggregate, torch.cat([attended, positions])).clamp(min=0)
        torch.testing.assert_close(result[image], joined.view(8, 3, 5), rtol=1e-4, atol=1e-5)


def test_update_equals_equations_10_and_11() -> None:
    torch.manual_seed(0)
    block = ContextUpdate(8, norm="").eval()
    x, tokens = torch.randn(1, 8, 9, 9), torch.randn(1, 8, 110, 1)
    joined = torch.cat([pool_tokens(x), tokens], dim=1)[0, :, :, 0]
    torch.testing.assert_close(block(x, tokens)[0, :, :, 0], convolve(block.update, joined).clamp(min=0))


def test_bfloat16_attention_does_not_overflow() -> None:
    torch.manual_seed(0)
    block = ContextAggregation(64)
    x = 300 * torch.randn(1, 64, 16, 16)  # scores up to some 10^5: their exponentials would be infinite
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = block(x, pool_tokens(x))
    assert result.isfinite().all()
    F.mse_loss(result.float(), torch.zeros_like(result, dtype=torch.float32)).backward()
    assert all(p.grad.isfinite().all() for p in block.parameters())
