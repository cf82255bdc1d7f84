"""Region growing in tensor code: sweeps of cumulative minima along rows and columns.

A queue visits one pixel after another, which is slow on a GPU: a long thin region has thousands of levels. A sweep
carries a value along a whole straight part of a path, so the number of rounds depends on the turns of the paths and
not on their length.

M = maps that are processed together, (H, W) = a map. A *closed* map has one more row and column at its end, which
belong to no region, so that a shift that wraps around joins no two pixels of a region.
"""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.ops.devices import upload

# Rounds in which the paths of all but winding regions are found.
ROUNDS = 3


class RegionSweeps:
    """The smallest `key + unit * steps` over all paths to a pixel through its region, on M maps at once.

    Args:
        regions: (M, H, W) integer, closed; a path stays in pixels of one value. 0 = outside: all keys there are equal.
        units: M costs of a step, from 0.
        limit: no key is above it.
        connectivity: 4, or 8 with the diagonals.
    """

    def __init__(self, regions: Tensor, units: Sequence[int], limit: int, connectivity: int):
        # A jump between two runs of a region that no key makes up for.
        jump = limit + max(units) * sum(regions.shape[1:]) + 1
        costs = torch.tensor([units, [unit + jump for unit in units]])[..., None, None]
        self.unit, apart = upload(costs, regions.device).unbind(0)
        shifts = [(0, 1), (1, 0)] if connectivity == 4 else [(0, 1), (1, 0), (1, 1), (1, -1)]
        self.links = [(shift, regions == regions.roll(shift, (1, 2))) for shift in shifts]
        # Positions along rows and columns, in units, with a jump from run to run.
        self.along_row, self.along_column = (
            torch.where(linked, self.unit, apart).cumsum(dim) for dim, (_, linked) in zip((2, 1), self.links)
        )

    def relax(self, keys: Tensor, rounds: int = ROUNDS) -> Tensor:
        """Carry keys (M, H, W) int64, 0 .. limit, over paths with a number of turns that grows with the rounds."""
        if len(self.links) == 2:
            return self._sweep(keys, rounds)
        for _ in range(rounds):
            for shift, linked in self.links[2:]:
                keys = _step(keys, shift, linked, self.unit)
            keys = self._sweep(keys, 1)
        return keys

    def _sweep(self, keys: Tensor, rounds: int) -> Tensor:
        """Carry keys along rows, then along columns, and again."""
        both = self.along_row + self.along_column
        keys = keys - self.along_row
        for number in range(rounds):
            if number:
                keys -= both
            keys = _sweep(keys, self.along_row, 2) - both
            keys = _sweep(keys, self.along_column, 1)
        return keys - self.along_column

    def needs_more(self, keys: Tensor) -> Tensor:
        """Return () bool: whether a further round changes keys that `relax` returned."""
        # Its last sweeps were along the columns, where nothing is left to carry.
        unsettled = [
            ((keys - keys.roll(shift, (1, 2))).abs() > self.unit) & linked
            for shift, linked in (self.links[0], *self.links[2:])
        ]
        return reduce(torch.logical_or, unsettled).any()


def grow_by_sweeps(owners: Tensor, regions: Tensor, connectivity: int) -> Tensor:
    """Return what `region_growing.grow_regions` returns, on any device."""
    unit = int(owners.max()) + 1 if owners.numel() else 1
    unreached = (owners.numel() + 1) * unit
    inside = regions > 0
    # A key holds distance and owner: the smallest key is that of the nearest owner, of several of the smaller number.
    keys = torch.where(inside & (owners > 0), owners.long(), unreached * inside)
    keys = F.pad(keys, (0, 1, 0, 1))[None]
    sweeps = RegionSweeps(F.pad(regions, (0, 1, 0, 1))[None], [unit], unreached, connectivity)
    keys = sweeps.relax(keys)
    while sweeps.needs_more(keys):
        keys = sweeps.relax(keys)
    return torch.where(inside, keys[0, :-1, :-1] % unit, owners).int()


def _sweep(keys: Tensor, positions: Tensor, dim: int) -> Tensor:
    """Carry keys along the runs of one dimension, both ways.

    Args:
        keys: the keys minus `positions`.
        positions: they rise by the cost of a step, and jump between runs.

    Returns:
        The new keys plus `positions`.
    """
    keys = keys.cummin(dim).values.add_(positions, alpha=2)
    return keys.flip(dim).cummin(dim).values.flip(dim)


def _step(keys: Tensor, shift: tuple[int, int], linked: Tensor, unit: Tensor) -> Tensor:
    """Carry keys one step in one direction, both ways."""
    back = (-shift[0], -shift[1])
    keys = torch.minimum(keys, torch.where(linked, keys.roll(shift, (1, 2)) + unit, keys))
    return torch.minimum(keys, torch.where(linked.roll(back, (1, 2)), keys.roll(back, (1, 2)) + unit, keys))
