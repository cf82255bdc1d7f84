"""From the finest feature to a pyramid of features, with one of four kinds of context.

Source: Hsiao et al., Specialize and Fuse: Pyramidal Output Representation for Semantic Segmentation (2021), 4.2 and
Table 6. D = channels, (h, w) = the finest level.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads.pyramidal_output.context import ContextAggregation, ContextUpdate, pool_tokens


class PooledLevels(nn.Module):
    """No context: the finest feature, averaged for the coarser levels (equation 3).

    Args:
        channels: D.
        factors: finest positions along the side of a cell, from the coarsest level to the finest, which has 1.
        norm: name of a norm for Detectron2's `get_norm`.
    """

    def __init__(self, channels: int, *, factors: Sequence[int], norm: str = "GN"):
        super().__init__()
        self.factors = tuple(factors)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, D, h, w) -> (N, D, h / factor, w / factor) for each level, from coarse to fine."""
        return [F.avg_pool2d(x, factor) if factor > 1 else x for factor in self.factors]


class AttendedFinest(PooledLevels):
    """One ANL block on the finest feature, before it is averaged ("ANL")."""

    def __init__(self, channels: int, *, factors: Sequence[int], norm: str = "GN"):
        super().__init__(channels, factors=factors, norm=norm)
        self.aggregation = ContextAggregation(channels, norm=norm)

    def forward(self, x: Tensor) -> list[Tensor]:
        return super().forward(self.aggregation(x, pool_tokens(x)))


class AttendedLevels(PooledLevels):
    """An ANL block on every level, each with its own tokens ("ANL-multi")."""

    def __init__(self, channels: int, *, factors: Sequence[int], norm: str = "GN"):
        super().__init__(channels, factors=factors, norm=norm)
        self.aggregations = nn.ModuleList(ContextAggregation(channels, norm=norm) for _ in factors)

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = super().forward(x)
        return [aggregate(level, pool_tokens(level)) for aggregate, level in zip(self.aggregations, levels)]


class CoarseToFineLevels(PooledLevels):
    """Each level attends to tokens of the coarser levels; the first to those of the finest feature (4 to 6)."""

    def __init__(self, channels: int, *, factors: Sequence[int], norm: str = "GN"):
        super().__init__(channels, factors=factors, norm=norm)
        self.aggregations = nn.ModuleList(ContextAggregation(channels, norm=norm) for _ in factors)
        self.updates = nn.ModuleList(ContextUpdate(channels, norm=norm) for _ in factors[1:])

    def forward(self, x: Tensor) -> list[Tensor]:
        tokens = pool_tokens(x)
        refined: list[Tensor] = []
        for index, (aggregate, level) in enumerate(zip(self.aggregations, super().forward(x))):
            if index:
                tokens = self.updates[index - 1](refined[-1], tokens)
            refined.append(aggregate(level, tokens))
        return refined


CONTEXTS: dict[str, Callable[..., PooledLevels]] = {
    "none": PooledLevels,
    "anl": AttendedFinest,
    "anl_multi": AttendedLevels,
    "coarse_to_fine": CoarseToFineLevels,
}
