"""Operators for exporters, against those of PyTorch."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unified_seg.export.operators import exportable_operators


@pytest.mark.parametrize("size", [(7, 10), (12, 18), (6, 6), (3, 5)])
@pytest.mark.parametrize("bins", [1, 3, 6, (3, 9), (12, 18)])
@pytest.mark.parametrize("kind", [nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d])
def test_pooling_is_that_of_pytorch(kind: type[nn.Module], bins: int, size: tuple[int, int]) -> None:
    x = torch.randn((2, 3, *size), generator=torch.Generator().manual_seed(0))
    pool = kind(bins)  # type: ignore[call-arg]
    with exportable_operators():
        found = pool(x)
    torch.testing.assert_close(found, pool(x))


def test_attention_is_that_of_pytorch() -> None:
    query, key, value = (torch.randn(2, count, 8) for count in (5, 7, 7))
    with exportable_operators():
        found = F.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(found, F.scaled_dot_product_attention(query, key, value))


def test_other_operators_stay() -> None:
    with exportable_operators():
        assert torch.equal(torch.ones(2) + 1, torch.full((2,), 2.0))
