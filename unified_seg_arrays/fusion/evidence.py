"""The steps of `unified_seg.fusion.evidence` as compiled loops.

(H, W) = the image, K = semantic ids, N = candidates, M = instances of the result. See `semantic_guided` for framed
maps, and `region_growing` for the states of their pixels.
"""

from typing import NamedTuple

import numpy as np

from unified_seg_arrays.compiled import compiled
from unified_seg_arrays.fusion.evidence_weights import FOUND_CONFIDENCE, Weights
from unified_seg_arrays.fusion.region_growing import (
    compute_neighbor_steps,
    find_free_pixels,
    grow_framed,
    label_components,
)
from unified_seg_arrays.fusion.semantic_guided import allocate_maps, crop_masks, find_run_starts, mark_regions
from unified_seg_arrays.fusion.steps import FusedArrays, Rules, WindowMasks, number_stuff, select_stuff
from unified_seg_arrays.levels import LEVELS


class EvidenceMaps(NamedTuple):
    """A semantic map with confidences; contiguous.

    Attributes:
        labels: (H, W) integer semantic ids, or the ignore label.
        confidences: (H, W) uint8, the level of the label's class.
        category_confidences: (H, W) uint8, the level of all classes of the label's category.
    """

    labels: np.ndarray
    confidences: np.ndarray
    category_confidences: np.ndarray


def fuse_compiled(
    semantic: EvidenceMaps, masks: WindowMasks, semantic_ids: list[int], weights: Weights, rules: Rules
) -> FusedArrays:
    """Run the steps.

    Args:
        semantic: the semantic map.
        masks: the levels of N candidates, by falling score.
        semantic_ids: N semantic ids of the candidates.
        weights: of the candidates.
        rules: thresholds and regions.
    """
    labels, confidences, categories = semantic
    starts = find_run_starts(labels)
    owners, states = allocate_maps(labels, len(masks), rules)
    label_areas = mark_regions(labels, starts, rules.region_of, rules.ignore_label, states)
    num_things = int(label_areas[:-1][rules.region_of > 0].sum())

    if label_areas[-1]:
        # A void label has probability 1/2 for every category.
        categories = np.where(labels == rules.ignore_label, np.uint8(LEVELS // 2 - 1), categories)
    kept = _claim_masks(owners, states, categories, masks, semantic_ids, weights, rules)
    regions = np.array([0, *(rules.region_of[semantic_ids[candidate]] for candidate in kept)], dtype=states.dtype)
    in_region = _settle(owners, states, regions)

    steps = compute_neighbor_steps(labels.shape[1] + 2, rules.connectivity)
    found = np.zeros((0, 2), dtype=np.int64)
    if num_things > in_region:
        free = find_free_pixels(states)
        if kept:
            limits = np.array([1, *weights.limits[kept]], dtype=np.int64)
            grow_framed(owners, states, free, steps, len(kept), limits)
            free = free[states.ravel()[free] > 0]
        if len(free) and np.isfinite(rules.min_segment_area):
            found = label_components(owners, states, free, labels, steps, len(kept), rules.min_segment_area)
            found = found[_drop_unsure(owners, free, confidences, len(kept), len(found), FOUND_CONFIDENCE * LEVELS)]
    return _write(labels, starts, confidences, owners, kept, found, semantic_ids, weights, rules)


def _claim_masks(
    owners: np.ndarray,
    states: np.ndarray,
    categories: np.ndarray,
    masks: WindowMasks,
    semantic_ids: list[int],
    weights: Weights,
    rules: Rules,
) -> list[int]:
    """Give each pixel to the candidate with the strongest evidence, in place; return the candidates that own pixels."""
    strengths = np.zeros(categories.shape, dtype=np.float32)
    kept: list[int] = []
    for candidate, ((x0, y0, x1, y1), levels) in enumerate(zip(masks.windows.tolist(), masks.planes)):
        is_kept = _claim(
            owners[y0 + 1 : y1 + 1, x0 + 1 : x1 + 1],
            states[y0 + 1 : y1 + 1, x0 + 1 : x1 + 1],
            categories[y0:y1, x0:x1],
            strengths[y0:y1, x0:x1],
            np.ascontiguousarray(levels),
            weights.mask[candidate],
            weights.map[candidate],
            rules.region_of[semantic_ids[candidate]],
            len(kept) + 1,
            rules.overlap_threshold,
        )
        if is_kept:
            kept.append(candidate)
    return kept


def _write(
    labels: np.ndarray,
    starts: np.ndarray,
    confidences: np.ndarray,
    owners: np.ndarray,
    kept: list[int],
    found: np.ndarray,
    semantic_ids: list[int],
    weights: Weights,
    rules: Rules,
) -> FusedArrays:
    """Number the instances that own pixels, and write the maps."""
    count = len(kept) + len(found)
    areas, label_areas = _count_pixels(owners, labels, starts, count, len(rules.region_of))
    # A candidate whose pixels all went to stronger ones is no instance.
    present = areas > 0
    numbers = np.cumsum(present)
    numbers = np.where(present, numbers, 0)
    kept_areas = areas[1:][present[1:]].tolist()
    semantic_of_owner = np.array([0, *(semantic_ids[candidate] for candidate in kept), *found[:, 0]], dtype=np.int64)
    sure = np.array([0, *weights.sure[kept], *[LEVELS] * len(found)], dtype=np.int64)
    stuff = select_stuff(label_areas[:-1].tolist(), rules.region_of > 0, rules.min_stuff_area)
    stuff_ids = number_stuff(stuff, len(kept_areas), rules)
    ids = np.empty(labels.shape, dtype=np.int32)
    refined = labels.copy()
    windows = np.array([[labels.shape[1], labels.shape[0], 0, 0]] * (count + 1), dtype=np.int64).reshape(-1, 4)
    _write_maps(owners, labels, starts, confidences, numbers, semantic_of_owner, sure, stuff_ids, ids, refined, windows)
    return FusedArrays(
        ids=ids,
        labels=refined,
        kept=[candidate for candidate, is_present in zip(kept, present[1:]) if is_present],
        found=found[:, 0].tolist(),
        areas=kept_areas,
        masks=crop_masks(owners, windows[1:]).select(np.flatnonzero(present[1:]).tolist()),
        stuff=stuff,
    )


@compiled
def _claim(
    owners: np.ndarray,
    states: np.ndarray,
    categories: np.ndarray,
    strengths: np.ndarray,
    levels: np.ndarray,
    of_mask: np.ndarray,
    of_map: np.ndarray,
    region: int,
    owner: int,
    overlap_threshold: float,
) -> bool:
    """Let a candidate own the pixels of its window where its evidence is positive and the strongest so far.

    Returns:
        False for a candidate that was dropped.
    """
    height, width = levels.shape
    evidence = np.empty((height, width), dtype=np.float32)
    free, taken = 0, 0
    for y in range(height):
        for x in range(width):
            of_pixel = of_map[categories[y, x]]
            value = of_mask[levels[y, x]] + (of_pixel if states[y, x] == region else -of_pixel)
            evidence[y, x] = value
            if value > 0:
                if strengths[y, x] > 0:
                    taken += 1
                else:
                    free += 1
    if free == 0 or taken / (free + taken) > overlap_threshold:
        return False
    for y in range(height):
        for x in range(width):
            if evidence[y, x] > strengths[y, x]:
                strengths[y, x] = evidence[y, x]
                owners[y, x] = owner
    return True


@compiled
def _settle(owners: np.ndarray, states: np.ndarray, regions: np.ndarray) -> int:
    """Mark owned pixels in the framed states: in the region of their owner as owned, elsewhere as outside all regions.

    Returns:
        The pixels of things that have an owner.
    """
    count = 0
    for y in range(owners.shape[0]):
        for x in range(owners.shape[1]):
            if owners[y, x] != 0:
                count += states[y, x] != 0
                states[y, x] = -states[y, x] if states[y, x] == regions[owners[y, x]] else 0
    return count


@compiled
def _drop_unsure(
    owners: np.ndarray, free: np.ndarray, confidences: np.ndarray, last_owner: int, count: int, least: float
) -> np.ndarray:
    """Take the pixels of found instances whose mean level is below `least`, and number the others anew, in place.

    Args:
        owners: framed; the found instances are last_owner + 1 .. last_owner + count.
        free: flat indices that contain all pixels of the found instances.

    Returns:
        (count,) bool, which of them stay.
    """
    owner_of, width = owners.ravel(), owners.shape[1]
    sums = np.zeros(count, dtype=np.int64)
    areas = np.zeros(count, dtype=np.int64)
    for pixel in free:
        index = owner_of[pixel] - last_owner - 1
        if index >= 0:
            sums[index] += confidences[pixel // width - 1, pixel % width - 1]
            areas[index] += 1
    stay = sums >= least * areas
    numbers = np.cumsum(stay) + last_owner
    for pixel in free:
        index = owner_of[pixel] - last_owner - 1
        if index >= 0:
            owner_of[pixel] = numbers[index] if stay[index] else 0
    return stay


@compiled
def _count_pixels(
    owners: np.ndarray, labels: np.ndarray, starts: np.ndarray, count: int, num_labels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of each owner 1 .. count, and those of each label (and last of void) that have no owner."""
    areas = np.zeros(count + 1, dtype=np.int64)
    label_areas = np.zeros(num_labels + 1, dtype=np.int64)
    width = labels.shape[1]
    for run in range(len(starts) - 1):
        y, x = divmod(starts[run], width)
        label = labels[y, x]
        ownerless = 0
        for owner in owners[y + 1, x + 1 : x + 1 + starts[run + 1] - starts[run]]:
            if owner == 0:
                ownerless += 1
            else:
                areas[owner] += 1
        label_areas[label if 0 <= label < num_labels else num_labels] += ownerless
    return areas, label_areas


@compiled
def _write_maps(
    owners: np.ndarray,
    labels: np.ndarray,
    starts: np.ndarray,
    confidences: np.ndarray,
    numbers: np.ndarray,
    semantic_of_owner: np.ndarray,
    sure: np.ndarray,
    stuff_ids: np.ndarray,
    ids: np.ndarray,
    refined: np.ndarray,
    windows: np.ndarray,
) -> None:
    """Write segment ids, the owners' classes where they are surer than the labels, and each owner's tight window.

    It visits runs of a label, and inside those runs of an owner.
    """
    width = labels.shape[1]
    void = len(stuff_ids) - 1
    for run in range(len(starts) - 1):
        y, x = divmod(starts[run], width)
        last = x + starts[run + 1] - starts[run]
        label = labels[y, x]
        stuff_id = stuff_ids[label if 0 <= label < void else void]
        while x < last:
            owner, end = owners[y + 1, x + 1], x + 1
            while end < last and owners[y + 1, end + 1] == owner:
                end += 1
            ids[y, x:end] = numbers[owner] if owner != 0 else stuff_id
            if owner != 0:
                for i in range(x, end):
                    if confidences[y, i] < sure[owner]:
                        refined[y, i] = semantic_of_owner[owner]
                window = windows[owner]
                window[0], window[1] = min(window[0], x), min(window[1], y)
                window[2], window[3] = max(window[2], end), max(window[3], y + 1)
            x = end
