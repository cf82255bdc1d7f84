"""The steps of `unified_seg.fusion.semantic_guided` as compiled loops.

(H, W) = the image, K = semantic ids, N = candidates, M = instances of the result. A *framed* map has a frame of one
pixel around it; see `region_growing` for framed maps and the states of their pixels.
"""

import numpy as np

from unified_seg_arrays.compiled import compiled
from unified_seg_arrays.fusion.region_growing import (
    NO_LIMITS,
    compute_neighbor_steps,
    find_free_pixels,
    grow_framed,
    label_components,
)
from unified_seg_arrays.fusion.steps import Claims, FusedArrays, Rules, WindowMasks, number_stuff, select_stuff


def fuse_compiled(labels: np.ndarray, masks: WindowMasks, semantic_ids: list[int], rules: Rules) -> FusedArrays:
    """Run the steps.

    Args:
        labels: (H, W) contiguous integer semantic ids, or the ignore label.
        masks: N candidates, by falling score.
        semantic_ids: N semantic ids of the candidates.
        rules: thresholds and regions.
    """
    starts = find_run_starts(labels)
    owners, states = allocate_maps(labels, len(masks), rules)
    label_areas = mark_regions(labels, starts, rules.region_of, rules.ignore_label, states)[:-1]
    kept, areas = _claim_masks(owners, states, masks, semantic_ids, rules)
    return _finish(labels, starts, label_areas, owners, states, Claims(kept, areas), semantic_ids, rules)


def finish_compiled(
    labels: np.ndarray, owners: np.ndarray, claims: Claims, semantic_ids: list[int], rules: Rules
) -> FusedArrays:
    """Run the steps after the claims.

    Args:
        labels, semantic_ids, rules: see `fuse_compiled`.
        owners: (H, W) integer, the number of the kept candidate that owns a pixel, from 1; 0 = no owner.
        claims: the candidates that own pixels.
    """
    starts = find_run_starts(labels)
    framed, states = allocate_maps(labels, len(semantic_ids), rules)
    label_areas = mark_regions(labels, starts, rules.region_of, rules.ignore_label, states)[:-1]
    framed[1:-1, 1:-1] = owners
    np.negative(states, out=states, where=framed > 0)
    return _finish(labels, starts, label_areas, framed, states, claims, semantic_ids, rules)


def _finish(
    labels: np.ndarray,
    starts: np.ndarray,
    label_areas: np.ndarray,
    owners: np.ndarray,
    states: np.ndarray,
    claims: Claims,
    semantic_ids: list[int],
    rules: Rules,
) -> FusedArrays:
    """Grow the claimed regions, find further instances, and write the maps; `owners` and `states` are framed."""
    height, width = labels.shape
    kept, areas = claims.kept, claims.areas
    free = int(label_areas[rules.region_of > 0].sum()) - sum(areas)
    steps = compute_neighbor_steps(width + 2, rules.connectivity)
    if free and kept:
        gained = grow_framed(owners, states, find_free_pixels(states), steps, len(kept), NO_LIMITS)
        areas = [area + int(more) for area, more in zip(areas, gained[1:])]
        free -= int(gained.sum())
    found = np.zeros((0, 2), dtype=np.int64)
    if free and np.isfinite(rules.min_segment_area):
        remaining = find_free_pixels(states)
        found = label_components(owners, states, remaining, labels, steps, len(kept), rules.min_segment_area)

    stuff = select_stuff(label_areas.tolist(), rules.region_of > 0, rules.min_stuff_area)
    semantic_of_owner = np.array([0, *(semantic_ids[candidate] for candidate in kept), *found[:, 0]], dtype=np.int64)
    stuff_ids = number_stuff(stuff, len(semantic_of_owner) - 1, rules)
    ids = np.empty((height, width), dtype=np.int32)
    refined = labels.copy()
    windows = np.array([[width, height, 0, 0]] * len(semantic_of_owner), dtype=np.int64).reshape(-1, 4)
    _write_maps(owners, labels, starts, rules.region_of, semantic_of_owner, stuff_ids, ids, refined, windows)
    return FusedArrays(
        ids=ids,
        labels=refined,
        kept=kept,
        found=found[:, 0].tolist(),
        areas=[*areas, *found[:, 1].tolist()],
        masks=crop_masks(owners, windows[1:]),
        stuff=stuff,
    )


def allocate_maps(labels: np.ndarray, num_candidates: int, rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    """Return framed owners and states of zeros, of the smallest types that can hold their values."""
    shape = (labels.shape[0] + 2, labels.shape[1] + 2)
    # Half the memory to go through if two bytes can number all that may be kept or found.
    most = num_candidates + labels.size / max(rules.min_segment_area, 1)
    owners = np.zeros(shape, dtype=np.int16 if most < 2**15 else np.int32)
    return owners, np.zeros(shape, dtype=np.min_scalar_type(-1 - int(rules.region_of.max())))


def _claim_masks(
    owners: np.ndarray, states: np.ndarray, masks: WindowMasks, semantic_ids: list[int], rules: Rules
) -> tuple[list[int], list[int]]:
    """Let candidates own the free pixels of their masks, in place; return the kept ones and their areas."""
    kept: list[int] = []
    areas: list[int] = []
    for candidate, ((x0, y0, x1, y1), mask) in enumerate(zip(masks.windows.tolist(), masks.planes)):
        framed = (slice(y0 + 1, y1 + 1), slice(x0 + 1, x1 + 1))
        area = _claim(
            owners[framed],
            states[framed],
            np.ascontiguousarray(mask),
            rules.region_of[semantic_ids[candidate]],
            len(kept) + 1,
            rules.overlap_threshold,
        )
        if area:
            kept.append(candidate)
            areas.append(area)
    return kept, areas


def crop_masks(owners: np.ndarray, windows: np.ndarray) -> WindowMasks:
    """Return the masks of owners 1 .. M of a framed map, in their windows (M, 4)."""
    masks = [
        owners[y0 + 1 : y1 + 1, x0 + 1 : x1 + 1] == owner
        for owner, (x0, y0, x1, y1) in enumerate(windows.tolist(), start=1)
    ]
    return WindowMasks(windows, masks)


def find_run_starts(labels: np.ndarray) -> np.ndarray:
    """Return the flat indices at which a run of a label begins, and the size of the map; runs end with their rows."""
    # Several times faster in numpy than in a compiled loop.
    begins = np.ones(labels.shape, dtype=bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=begins[:, 1:])
    return np.append(np.flatnonzero(begins), labels.size)


@compiled
def mark_regions(
    labels: np.ndarray, starts: np.ndarray, region_of: np.ndarray, ignore_label: int, states: np.ndarray
) -> np.ndarray:
    """Write each pixel's region into the framed `states`; return (K + 1,), the area of each semantic id and of void."""
    width = labels.shape[1]
    areas = np.zeros(len(region_of) + 1, dtype=np.int64)
    for run in range(len(starts) - 1):
        y, x = divmod(starts[run], width)
        length = starts[run + 1] - starts[run]
        label = labels[y, x]
        areas[len(region_of) if label == ignore_label else label] += length
        if label != ignore_label and region_of[label] != 0:
            states[y + 1, x + 1 : x + 1 + length] = region_of[label]
    return areas


@compiled
def _claim(
    owners: np.ndarray, states: np.ndarray, mask: np.ndarray, region: int, owner: int, overlap_threshold: float
) -> int:
    """Let an instance own the free pixels of its mask and region; return how many, 0 for a dropped instance."""
    height, width = mask.shape
    free, taken = 0, 0
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                free += states[y, x] == region
                taken += states[y, x] == -region
    if free == 0 or taken / (free + taken) > overlap_threshold:
        return 0
    for y in range(height):
        for x in range(width):
            if mask[y, x] and states[y, x] == region:
                states[y, x] = -region
                owners[y, x] = owner
    return free


@compiled
def _write_maps(
    owners: np.ndarray,
    labels: np.ndarray,
    starts: np.ndarray,
    region_of: np.ndarray,
    semantic_of_owner: np.ndarray,
    stuff_ids: np.ndarray,
    ids: np.ndarray,
    refined: np.ndarray,
    windows: np.ndarray,
) -> None:
    """Write segment ids, the owners' classes over the labels in `refined`, and each owner's tight window.

    It visits runs of a label, and inside those of a thing's label runs of an owner.
    """
    width = labels.shape[1]
    void = len(stuff_ids) - 1
    for run in range(len(starts) - 1):
        y, x = divmod(starts[run], width)
        last = x + starts[run + 1] - starts[run]
        label = labels[y, x]
        index = label if 0 <= label < void else void
        if index == void or region_of[index] == 0:
            ids[y, x:last] = stuff_ids[index]
            continue
        while x < last:
            owner, end = owners[y + 1, x + 1], x + 1
            while end < last and owners[y + 1, end + 1] == owner:
                end += 1
            ids[y, x:end] = owner
            if owner != 0:
                refined[y, x:end] = semantic_of_owner[owner]
                window = windows[owner]
                window[0], window[1] = min(window[0], x), min(window[1], y)
                window[2], window[3] = max(window[2], end), max(window[3], y + 1)
            x = end
