"""Region growing by geodesic distance.

On the CPU it is a queue, compiled by numba; on other devices it is sweeps (see `region_sweeps`). Both give the same
result, pixel for pixel.
"""

import torch
from torch import Tensor

from unified_seg.fusion.region_sweeps import grow_by_sweeps
from unified_seg_arrays.fusion import region_growing
from unified_seg_arrays.fusion.region_growing import check_connectivity


def grow_regions(owners: Tensor, regions: Tensor, connectivity: int = 4) -> Tensor:
    """Give every reachable pixel without an owner to the owner of the geodesically nearest owned pixel.

    A path moves from neighbor to neighbor through pixels of one region; its length is its number of steps. Of owners
    at the same distance the smaller number wins, so the result does not depend on the order of computation.

    Args:
        owners: (H, W) int32, from 1; 0 = no owner. Pixels outside all regions keep their value.
        regions: (H, W) integer, from 1; 0 = outside all regions.
        connectivity: 4, or 8 with the diagonals.

    Returns:
        (H, W) int32: the owners.

    Raises:
        ValueError: the maps have different sizes, or the connectivity is neither 4 nor 8.
    """
    if owners.shape != regions.shape:
        raise ValueError(f"owners {tuple(owners.shape)} and regions {tuple(regions.shape)} must have one shape")
    check_connectivity(connectivity)
    if owners.device.type != "cpu":
        return grow_by_sweeps(owners, regions, connectivity)
    return torch.from_numpy(region_growing.grow_regions(owners.numpy(), regions.numpy(), connectivity))
