import pytest
import torch
from torch.nn import functional as F

from unified_seg.heads.pyramidal_output.context import pool_tokens
from unified_seg.heads.pyramidal_output.level_context import CONTEXTS

FACTORS = (8, 4, 2, 1)


def features() -> torch.Tensor:
    return torch.randn(2, 8, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", CONTEXTS)
def test_each_factor_has_a_level(name: str) -> None:
    torch.manual_seed(0)
    levels = CONTEXTS[name](8, factors=FACTORS)(features())
    assert [tuple(level.shape) for level in levels] == [(2, 8, 2, 3), (2, 8, 4, 6), (2, 8, 8, 12), (2, 8, 16, 24)]


@pytest.mark.parametrize("name", CONTEXTS)
def test_every_parameter_is_used(name: str) -> None:
    context = CONTEXTS[name](8, factors=FACTORS)
    sum(level.square().sum() for level in context(features().requires_grad_())).backward()
    assert all(p.grad is not None for p in context.parameters())


def test_without_context_levels_are_means() -> None:
    x = features()
    levels = CONTEXTS["none"](8, factors=FACTORS)(x)
    assert torch.equal(levels[-1], x)
    torch.testing.assert_close(levels[0][0, :, 1, 2], x[0, :, 8:16, 16:24].mean((1, 2)))


def test_anl_attends_once_and_then_averages() -> None:
    torch.manual_seed(0)
    context, x = CONTEXTS["anl"](8, factors=FACTORS), features()
    finest = context.aggregation(x, pool_tokens(x))
    for level, factor in zip(context(x), FACTORS):
        torch.testing.assert_close(level, F.avg_pool2d(finest, factor))


def test_anl_multi_attends_on_every_level() -> None:
    torch.manual_seed(0)
    context, x = CONTEXTS["anl_multi"](8, factors=FACTORS), features()
    for level, factor, block in zip(context(x), FACTORS, context.aggregations, strict=True):
        mean = F.avg_pool2d(x, factor)
        torch.testing.assert_close(level, block(mean, pool_tokens(mean)))


def test_coarse_to_fine_equals_equations_4_to_6() -> None:
    torch.manual_seed(0)
    context, x = CONTEXTS["coarse_to_fine"](8, factors=FACTORS), features()
    aggregate, update = context.aggregations, context.updates
    tokens = pool_tokens(x)
    first = aggregate[0](F.avg_pool2d(x, 8), tokens)
    tokens = update[0](first, tokens)
    second = aggregate[1](F.avg_pool2d(x, 4), tokens)
    tokens = update[1](second, tokens)
    third = aggregate[2](F.avg_pool2d(x, 2), tokens)
    tokens = update[2](third, tokens)
    fourth = aggregate[3](x, tokens)
    for level, expected in zip(context(x), (first, second, third, fourth), strict=True):
        torch.testing.assert_close(level, expected)
