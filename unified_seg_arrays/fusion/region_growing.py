"""Region growing by geodesic distance, and connected components, as queues.

(H, W) = the map. A *framed* map has a frame of one pixel around it, so that neighbors need no test of bounds. The
*state* of a pixel is 0 outside all regions, the number of its region (from 1) while the pixel has no owner, and that
number negated once it has one.
"""

import numpy as np
from numpy.typing import DTypeLike

from unified_seg_arrays.compiled import compiled

CONNECTIVITIES = (4, 8)
# Of `grow_framed`.
NO_LIMITS = np.zeros(0, dtype=np.int64)


def grow_regions(owners: np.ndarray, regions: np.ndarray, connectivity: int = 4) -> np.ndarray:
    """Give every reachable pixel without an owner to the owner of the geodesically nearest owned pixel.

    A path moves from neighbor to neighbor through pixels of one region; its length is its number of steps. Of owners
    at the same distance the smaller number wins, so the result does not depend on the order of computation.

    Args:
        owners: (H, W) int32, from 1; 0 = no owner. Pixels outside all regions keep their value.
        regions: (H, W) integer, from 1; 0 = outside all regions.
        connectivity: 4, or 8 with the diagonals.

    Returns:
        (H, W) int32: the owners.
    """
    last_owner, last_region = (int(values.max(initial=0)) for values in (owners, regions))
    # Of the smallest types that hold their values: less memory to go through.
    framed = _frame(owners, np.int16 if last_owner < 2**15 else np.int32)
    states = _frame(regions, np.min_scalar_type(-1 - last_region))
    np.negative(states, out=states, where=framed > 0)
    steps = compute_neighbor_steps(framed.shape[1], connectivity)
    grow_framed(framed, states, find_free_pixels(states), steps, last_owner, NO_LIMITS)
    return framed[1:-1, 1:-1].astype(np.int32)


def _frame(values: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Return a map as a framed one of this type, with a frame of zeros."""
    framed = np.zeros((values.shape[0] + 2, values.shape[1] + 2), dtype=dtype)
    framed[1:-1, 1:-1] = values
    return framed


def check_connectivity(connectivity: int) -> None:
    """Raise ValueError for a connectivity that is neither 4 nor 8."""
    if connectivity not in CONNECTIVITIES:
        raise ValueError(f"connectivity must be 4 or 8, got {connectivity}")


def compute_neighbor_steps(width: int, connectivity: int) -> np.ndarray:
    """Return (4,) or (8,) offsets of the neighbors of a pixel in a flat framed map; the width includes the frame."""
    steps = [-1, 1, -width, width]
    if connectivity == 8:
        steps += [-width - 1, -width + 1, width - 1, width + 1]
    return np.array(steps, dtype=np.int64)


def find_free_pixels(states: np.ndarray) -> np.ndarray:
    """Return the flat indices, ascending, of the pixels of regions that have no owner."""
    # A fraction of the time of a compiled loop.
    return np.flatnonzero(states > 0)


@compiled
def grow_framed(
    owners: np.ndarray, states: np.ndarray, free: np.ndarray, steps: np.ndarray, last_owner: int, limits: np.ndarray
) -> np.ndarray:
    """Run `grow_regions` in place on framed maps whose frame is outside all regions.

    Args:
        owners, states: framed; the owners of a signed type.
        free: see `find_free_pixels`.
        steps: see `compute_neighbor_steps`.
        last_owner: the owners are 1 .. last_owner.
        limits: (last_owner + 1,) int64: a pixel whose nearest owner is farther than this many steps has the state of an
            owned one, but stays without an owner. Empty: no limits.

    Returns:
        (last_owner + 1,) int64: how many pixels each owner gained.
    """
    owner_of, state_of = owners.ravel(), states.ravel()
    # The free pixels next to an owned one, each with the smallest owner among its neighbors.
    pixels = np.empty(free.size, dtype=np.int32)
    best_owners = np.empty(free.size, dtype=np.int32)
    gained = np.zeros(last_owner + 1, dtype=np.int64)
    count = 0
    for pixel in free:
        region = state_of[pixel]
        best = 0
        for step in steps:
            if state_of[pixel + step] == -region:
                other = owner_of[pixel + step]
                best = other if best == 0 else min(best, other)
        if best != 0:
            pixels[count] = pixel
            best_owners[count] = best
            gained[best] += 1
            count += 1
    # If the first level of a queue is sorted by owner every level is, so the first owner to arrive is the smallest.
    queue = np.empty(free.size, dtype=np.int32)
    place = np.cumsum(gained) - gained
    if limits.size:
        gained[limits == 0] = 0
    for pixel, owner in zip(pixels[:count], best_owners[:count]):
        # Beyond its limit an owner is negative until the queue is done.
        owner_of[pixel] = -owner if limits.size and limits[owner] == 0 else owner
        state_of[pixel] = -state_of[pixel]
        queue[place[owner]] = pixel
        place[owner] += 1
    head, tail = 0, count
    # The level of the queue is complete at `level_end`; its pixels are `distance` steps from their owners.
    level_end, distance = count, 1
    while head < tail:
        if head == level_end:
            level_end, distance = tail, distance + 1
        pixel = queue[head]
        head += 1
        owner, region = owner_of[pixel], -state_of[pixel]
        for step in steps:
            other = pixel + step
            if state_of[other] == region:
                state_of[other] = -region
                if owner < 0 or (limits.size and distance >= limits[owner]):
                    owner_of[other] = -abs(owner)
                else:
                    owner_of[other] = owner
                    gained[owner] += 1
                queue[tail] = other
                tail += 1
    if limits.size:
        for pixel in queue[:tail]:
            if owner_of[pixel] < 0:
                owner_of[pixel] = 0
    return gained


@compiled
def label_components(
    owners: np.ndarray,
    states: np.ndarray,
    free: np.ndarray,
    labels: np.ndarray,
    steps: np.ndarray,
    last_owner: int,
    min_area: float,
) -> np.ndarray:
    """Give each large connected component of free pixels of equal label an owner, in place.

    Args:
        owners, states: framed.
        free: see `find_free_pixels`.
        labels: (H, W) integer, not framed.
        steps: see `compute_neighbor_steps`.
        last_owner: the new owners are numbered from `last_owner + 1`, in the order of their first pixels.
        min_area: pixels; smaller components get no owner.

    Returns:
        (C, 2) int64: label and area of each new owner.
    """
    width = owners.shape[1]
    owner_of, state_of = owners.ravel(), states.ravel()
    queue = np.empty(free.size, dtype=np.int32)
    found = np.empty((free.size, 2), dtype=np.int64)
    count = 0
    for start in free:
        if state_of[start] < 0:  # part of an earlier component
            continue
        label = labels[start // width - 1, start % width - 1]
        state_of[start] = -state_of[start]
        queue[0] = start
        head, tail = 0, 1
        while head < tail:
            pixel = queue[head]
            head += 1
            for step in steps:
                other = pixel + step
                if state_of[other] > 0 and labels[other // width - 1, other % width - 1] == label:
                    state_of[other] = -state_of[other]
                    queue[tail] = other
                    tail += 1
        if tail >= min_area:
            found[count, 0], found[count, 1] = label, tail
            count += 1
            for pixel in queue[:tail]:
                owner_of[pixel] = last_owner + count
    return found[:count].copy()
