"""Region growing in tensor code: sweeps of cumulative minima along rows and columns, until nothing changes.

A queue visits one pixel after another, which is slow on a GPU: a long thin region has thousands of levels. A sweep
carries a value along a whole straight part of a path, so the number of rounds depends on the turns of the paths and
not on their length.

(H, W) = the map.
"""

import torch
from torch import Tensor


def grow_by_sweeps(owners: Tensor, regions: Tensor, connectivity: int) -> Tensor:
    """Return what `region_growing.grow_regions` returns, on any device."""
    inside = regions > 0
    unit = int(owners.max()) + 1 if owners.numel() else 1
    unreached = (owners.numel() + 1) * unit
    # A key holds distance and owner: the smallest key is that of the nearest owner, of several of the smaller number.
    keys = torch.where(inside & (owners > 0), owners.long(), unreached)
    keys = relax_by_sweeps(keys, regions, unit, unreached, connectivity)
    return torch.where(inside & (keys < unreached), keys % unit, owners).int()


def label_components_by_sweeps(labels: Tensor, inside: Tensor, connectivity: int) -> Tensor:
    """Label the connected components of pixels of equal label, on any device.

    Args:
        labels: (H, W) integer, from 0.
        inside: (H, W) bool, the pixels that components consist of.
        connectivity: 4 or 8.

    Returns:
        (H, W) int64: the flat index of the first pixel of each pixel's component; H * W outside.
    """
    count = labels.numel()
    index = torch.arange(count, device=labels.device).reshape(labels.shape)
    regions = torch.where(inside, labels.long() + 1, 0)
    return relax_by_sweeps(torch.where(inside, index, count), regions, 0, count, connectivity)


def relax_by_sweeps(keys: Tensor, regions: Tensor, unit: int, limit: int, connectivity: int) -> Tensor:
    """Compute the smallest `key + unit * steps` over all paths to a pixel through its region.

    Args:
        keys: (H, W) int64, 0 .. limit.
        regions: (H, W) integer; 0 = outside; keys there do not change.
        unit: the cost of a step.
        limit: no key of the result is above it.
        connectivity: 4 or 8.
    """
    runs = [_number_runs(regions, dim) for dim in (0, 1)]
    while True:
        before = keys
        for dim, run in enumerate(runs):
            for reverse in (False, True):
                keys = torch.minimum(keys, _sweep(keys, run, dim, reverse, unit, limit))
        if connectivity == 8:
            keys = _step_diagonally(keys, regions, unit, limit)
        if torch.equal(keys, before):
            return keys


def _number_runs(regions: Tensor, dim: int) -> Tensor:
    """Return (H, W) int64 numbers that rise along `dim` from run to run of a region; each pixel outside is a run."""
    changes = torch.ones_like(regions, dtype=torch.int64)
    inner = regions.narrow(dim, 1, regions.shape[dim] - 1)
    same = (inner == regions.narrow(dim, 0, regions.shape[dim] - 1)) & (inner > 0)
    changes.narrow(dim, 1, regions.shape[dim] - 1)[same] = 0
    return changes.cumsum(dim)


def _sweep(keys: Tensor, runs: Tensor, dim: int, reverse: bool, unit: int, limit: int) -> Tensor:
    """Compute the smallest key + unit * steps over the preceding pixels of a run, in one cumulative minimum."""
    length = keys.shape[dim]
    if reverse:
        keys, runs = keys.flip(dim), runs.amax() + 1 - runs.flip(dim)
    steps = torch.arange(length, device=keys.device) * unit
    # The offsets of each run put its keys below those of all runs before it, so that no key leaves its run.
    offsets = (steps[:, None] if dim == 0 else steps) + runs * (limit + length * unit + 1)
    result = (keys - offsets).cummin(dim).values + offsets
    return (result.flip(dim) if reverse else result).clamp(max=limit)


def _step_diagonally(keys: Tensor, regions: Tensor, unit: int, limit: int) -> Tensor:
    """Move keys one step between diagonal neighbors of the same region."""
    result = keys.clone()
    height, width = keys.shape
    for dy in (-1, 1):
        for dx in (-1, 1):
            here = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
            there = (slice(max(0, -dy), height + min(0, -dy)), slice(max(0, -dx), width + min(0, -dx)))
            same = (regions[here] == regions[there]) & (regions[here] > 0)
            carried = torch.where(same, (keys[there] + unit).clamp(max=limit), limit)
            result[here] = torch.minimum(result[here], carried)
    return result
