"""The six steps of the semantic-guided fusion over pixels, twice: compiled loops for the CPU, tensor code for the rest.

Both give the same maps, pixel for pixel; `panoptic_fusion` checks the inputs and describes the result.

(H, W) = the image, K = semantic ids, N = candidates, M = instances of the result: the kept candidates, then the found.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unified_seg.fusion.region_growing import compute_neighbor_steps, find_free_pixels, grow_framed, label_components
from unified_seg.fusion.region_sweeps import grow_by_sweeps, label_components_by_sweeps
from unified_seg.ops.compiled import compiled
from unified_seg.structures.box_masks import BoxMasks


@dataclass(frozen=True)
class Rules:
    """What the steps know of classes and thresholds.

    Attributes:
        region_of: (K,) int, from 1: the category in which instances of a thing's semantic id may grow; 0 of stuff.
        ignore_label: the value of void pixels in the semantic map.
        overlap_threshold: see `semantic_guided_fusion`.
        min_segment_area: pixels; infinite where nothing may be found.
        min_stuff_area: pixels.
        connectivity: 4 or 8.
    """

    region_of: np.ndarray
    ignore_label: int
    overlap_threshold: float
    min_segment_area: float
    min_stuff_area: float
    connectivity: int


@dataclass(frozen=True)
class FusedPixels:
    """The maps, and what is counted on the way.

    Attributes:
        ids: (H, W) int32: instances 1 .. M, then stuff in the order of `stuff`; 0 = void.
        labels: (H, W), the refined semantic map.
        kept: the candidates that are instances, in order of their ids.
        found: the semantic id of each found instance, in order of their ids, which follow those of `kept`.
        areas: of the M instances.
        masks: of the M instances, in tight windows.
        stuff: (semantic id, area) of each stuff segment.
    """

    ids: Tensor
    labels: Tensor
    kept: list[int]
    found: list[int]
    areas: list[int]
    masks: BoxMasks
    stuff: list[tuple[int, int]]


def fuse_compiled(labels: Tensor, masks: BoxMasks, semantic_ids: list[int], rules: Rules) -> FusedPixels:
    """The steps on the CPU.

    Args:
        labels: (H, W) integer semantic ids, or the ignore label.
        masks: of the N candidates, best first.
        semantic_ids: of the N candidates.
        rules: see there.
    """
    semantic = labels.contiguous().numpy()
    height, width = semantic.shape
    states = np.zeros((height + 2, width + 2), dtype=np.min_scalar_type(-1 - int(rules.region_of.max())))
    # Half the memory to go through where two bytes can number all that may be kept or found.
    most = len(masks) + semantic.size / max(rules.min_segment_area, 1)
    owners = np.zeros((height + 2, width + 2), dtype=np.int16 if most < 2**15 else np.int32)
    starts = _run_starts(semantic)
    label_areas = _mark_regions(semantic, starts, rules.region_of, rules.ignore_label, states)

    kept: list[int] = []
    areas: list[int] = []
    for candidate, ((rows, columns), mask) in enumerate(masks):
        area = _claim(
            owners[rows.start + 1 : rows.stop + 1, columns.start + 1 : columns.stop + 1],
            states[rows.start + 1 : rows.stop + 1, columns.start + 1 : columns.stop + 1],
            np.ascontiguousarray(mask.numpy()),
            rules.region_of[semantic_ids[candidate]],
            len(kept) + 1,
            rules.overlap_threshold,
        )
        if area:
            kept.append(candidate)
            areas.append(area)

    steps = compute_neighbor_steps(width + 2, rules.connectivity)
    free = int(label_areas[: len(rules.region_of)][rules.region_of > 0].sum()) - sum(areas)
    if free and kept:
        gained = grow_framed(owners, states, find_free_pixels(states), steps, len(kept))
        areas = [area + int(more) for area, more in zip(areas, gained[1:])]
        free -= int(gained.sum())
    found = np.zeros((0, 2), dtype=np.int64)
    if free and np.isfinite(rules.min_segment_area):
        left = find_free_pixels(states)
        found = label_components(owners, states, left, semantic, steps, len(kept), rules.min_segment_area)

    stuff = _stuff_segments(label_areas[: len(rules.region_of)].tolist(), rules)
    stuff_ids, semantic_of_owner = _id_tables(len(kept) + len(found), stuff, rules)
    semantic_of_owner[1:] = [*(semantic_ids[candidate] for candidate in kept), *found[:, 0]]
    ids = np.empty((height, width), dtype=np.int32)
    refined = semantic.copy()
    windows = np.array([[width, height, 0, 0]] * len(semantic_of_owner), dtype=np.int64).reshape(-1, 4)
    _write_maps(owners, semantic, starts, rules.region_of, semantic_of_owner, stuff_ids, ids, refined, windows)
    # Cut by numpy: torch takes several times as long for windows of a larger map.
    cut = [
        torch.from_numpy(owners[y0 + 1 : y1 + 1, x0 + 1 : x1 + 1] == i)
        for i, (x0, y0, x1, y1) in enumerate(windows[1:].tolist(), start=1)
    ]
    return FusedPixels(
        ids=torch.from_numpy(ids),
        labels=torch.from_numpy(refined),
        kept=kept,
        found=found[:, 0].tolist(),
        areas=[*areas, *found[:, 1].tolist()],
        masks=BoxMasks(torch.from_numpy(windows[1:]), cut, (height, width)),
        stuff=stuff,
    )


def fuse_tensors(labels: Tensor, masks: BoxMasks, semantic_ids: list[int], rules: Rules) -> FusedPixels:
    """The steps in tensor code, on any device; arguments as of `fuse_compiled`."""
    device = labels.device
    k = len(rules.region_of)
    # The ignore label gets the place after the last class. In the labels' own type it could wrap into a class.
    semantic = labels.long()
    semantic = torch.where(semantic == rules.ignore_label, k, semantic)
    region_of = torch.tensor([*rules.region_of.tolist(), 0], device=device)
    regions = region_of[semantic]
    owners = torch.zeros(labels.shape, dtype=torch.int64, device=device)

    count = torch.zeros((), dtype=torch.int64, device=device)
    keeps: list[Tensor] = []
    for semantic_id, (window, mask) in zip(semantic_ids, masks):
        matched = mask & (regions[window] == int(rules.region_of[semantic_id]))
        free = matched & (owners[window] == 0)
        area, free_area = matched.sum(), free.sum()
        # Without a look at the numbers, for which the device would have to be waited for.
        keep = (free_area > 0) & ((area - free_area).double() / area <= rules.overlap_threshold)
        count = count + keep
        owners[window] = torch.where(free & keep, count, owners[window])
        keeps.append(keep)
    kept = torch.stack(keeps).nonzero()[:, 0].tolist() if keeps else []

    owners = grow_by_sweeps(owners, regions, rules.connectivity).long() if kept else owners
    found: list[int] = []
    free = (regions > 0) & (owners == 0)
    if np.isfinite(rules.min_segment_area) and bool(free.any()):
        first = label_components_by_sweeps(semantic, free, rules.connectivity)
        pixels, component, sizes = torch.unique(first[free], return_inverse=True, return_counts=True)
        large = sizes >= rules.min_segment_area
        numbers = torch.where(large, len(kept) + large.cumsum(0), 0)
        owners[free] = numbers[component]
        found = semantic.reshape(-1)[pixels[large]].tolist()

    label_areas = torch.bincount(semantic.reshape(-1), minlength=k + 1).tolist()
    stuff = _stuff_segments(label_areas[:k], rules)
    stuff_ids, semantic_of_owner = _id_tables(len(kept) + len(found), stuff, rules)
    semantic_of_owner[1:] = [*(semantic_ids[candidate] for candidate in kept), *found]
    owned = owners > 0
    ids = torch.where(owned, owners, torch.from_numpy(stuff_ids).to(device)[semantic])
    refined = torch.where(owned, torch.from_numpy(semantic_of_owner).to(device)[owners], labels).to(labels.dtype)
    areas, windows = _extents(owners, len(semantic_of_owner) - 1)
    cut = [ids[y0:y1, x0:x1] == i for i, (x0, y0, x1, y1) in enumerate(windows.tolist(), start=1)]
    image_size = (labels.shape[0], labels.shape[1])
    return FusedPixels(ids.int(), refined, kept, found, areas.tolist(), BoxMasks(windows, cut, image_size), stuff)


def _stuff_segments(label_areas: list[int], rules: Rules) -> list[tuple[int, int]]:
    areas = enumerate(label_areas)
    return [(k, area) for k, area in areas if area and not rules.region_of[k] and area >= rules.min_stuff_area]


def _id_tables(instances: int, stuff: list[tuple[int, int]], rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    """(K + 1,) the segment of each stuff id, 0 for void and for the ignore label; (M + 1,) zeros, to be filled in."""
    stuff_ids = np.zeros(len(rules.region_of) + 1, dtype=np.int64)
    for number, (semantic_id, _) in enumerate(stuff, start=instances + 1):
        stuff_ids[semantic_id] = number
    return stuff_ids, np.zeros(instances + 1, dtype=np.int64)


def _extents(owners: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(M,) pixels and (M, 4) tight window of each owner."""
    owned = owners > 0
    rows, columns = owned.nonzero(as_tuple=True)
    owner = owners[owned] - 1
    sides = [
        torch.zeros(count, dtype=torch.int64, device=owners.device).scatter_reduce(
            0, owner, side, how, include_self=False
        )
        for side, how in ((columns, "amin"), (rows, "amin"), (columns + 1, "amax"), (rows + 1, "amax"))
    ]
    return torch.bincount(owner, minlength=count), torch.stack(sides, dim=1)


def _run_starts(labels: np.ndarray) -> np.ndarray:
    """Flat indices at which a row or another label begins, and the size of the map: each run ends at the next one.

    Numpy finds them several times faster than a compiled loop.
    """
    begins = np.ones(labels.shape, dtype=bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=begins[:, 1:])
    return np.append(np.flatnonzero(begins), labels.size)


@compiled
def _mark_regions(
    labels: np.ndarray, starts: np.ndarray, region_of: np.ndarray, ignore_label: int, states: np.ndarray
) -> np.ndarray:
    """Write each pixel's region into the framed `states`; returns (K + 1,) pixels of each semantic id and of void."""
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
    """Give an instance the free pixels of its mask and region; returns how many, 0 where it is dropped."""
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
    """Write segment ids, and the owners' classes over the labels in `refined`; widen each owner's window to its pixels.

    It goes by runs of a label, and where the label is a thing's by runs of an owner in them.
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
