"""The claims of a fusion on an accelerator: which instance owns a pixel, before regions grow if they do.

The claims go by score, one after the other, but they need no pixels: it is enough to know how many pixels each
*pattern* has, a pattern being the label of a pixel with the masks that cover it. The accelerator makes one number of
the pattern of each pixel and counts them, a compiled loop on the CPU settles the claims of the few hundred patterns,
and the accelerator looks up the owner of each pixel by its pattern.

(H, W) = the image, K = semantic ids, N = instances, P = pixels of the closed map (see `region_sweeps`).

The *slot* of a pixel is its label + 1; the slots 0 and K + 1 mean an invalid label below 0 or from K, and K + 2 none.
The *number* of an owner is K + 3 for the first kept instance, and so on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.fusion.input_checks import check_labels
from unified_seg.ops.devices import upload
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable
from unified_seg_arrays.compiled import compiled
from unified_seg_arrays.fusion.steps import Candidates, Claims, Rules, select_candidates

# A pattern has 64 bits: one for each mask of a block, one for pixels that are already owned, and the slot.
MASKS, OWNED_BIT, SLOT_BIT = 47, 47, 48
MAX_PATTERNS = 4096


@dataclass(frozen=True)
class ClaimedPixels:
    """The claims, and the sources of region growing if there is one.

    Attributes:
        candidates: the given instances, and those that take part.
        claims: the candidates that own pixels.
        slots: (H + 1, W + 1) int64, closed with slots of no label.
        keys: (H + 1, W + 1) int64: the number of the owner; `unreached` in regions without an owner; 0 elsewhere.
        unit: above all numbers of owners; `unreached` is a multiple.
        unreached: above all keys that growing computes, with `unit` as the cost of a step.
        label_areas: K, the pixels of each semantic id.
        free_areas: K, those of them without an owner.
    """

    candidates: Candidates
    claims: Claims
    slots: Tensor
    keys: Tensor
    unit: int
    unreached: int
    label_areas: list[int]
    free_areas: list[int]


def claim_pixels(
    labels: Tensor,
    masks: BoxMasks,
    thing_ids: Tensor,
    scores: Tensor,
    table: ClassTable,
    rules: Rules,
    void_region: int = 0,
) -> ClaimedPixels:
    """Let the instances, by falling score, own free pixels of their masks and regions.

    The arguments are those of `fuse_semantic_guided`; `void_region` is the region of pixels without a label.

    Raises:
        ValueError: see `input_checks`.
    """
    slots = number_slots(labels, table.num_semantic, rules.ignore_label)
    slot_regions = np.array([0, *rules.region_of, 0, void_region], dtype=np.int64)
    unit = len(slot_regions) + len(masks)
    unreached = (slots.numel() + 1) * unit
    capacity = max(MAX_PATTERNS, 8 * len(slot_regions))
    masks = masks.on_maps()
    keys: Tensor | None = None
    kept: list[int] = []
    areas: list[int] = []
    values = _pack(thing_ids, scores)
    candidates = None
    if len(masks) > MASKS:
        candidates = _select(values.cpu().numpy(), table, rules)
    blocks = _split(range(len(masks)) if candidates is None else candidates.order, MASKS)
    while True:
        block = blocks.pop(0)
        words, block = _make_words(slots, masks, block)
        if keys is not None:
            words |= (keys > 0).long() << OWNED_BIT
        patterns, ends = _count_patterns(words.reshape(-1), capacity)
        read = torch.cat([patterns, ends, values]).cpu().numpy()
        if candidates is None:
            candidates = _select(read[2 * capacity :], table, rules)
        ordered = [index for index in candidates.order if index in block]
        if read[2 * capacity - 1] < slots.numel():
            # Too many patterns: fewer masks have fewer. The masks of a single block need not be in order so far.
            blocks = [*_split(ordered, (len(block) + 1) // 2), *blocks]
            continue
        found = _read_patterns(read, capacity, slot_regions)
        if found.slot_areas[0] or found.slot_areas[table.num_semantic + 1]:
            check_labels(labels, table)
        owners, block_areas = _claim_patterns(
            found.masks,
            found.regions,
            found.owned,
            found.counts,
            np.array([block.index(index) for index in ordered], dtype=np.uint64),
            np.array([rules.region_of[candidates.semantic_of[index]] for index in ordered], dtype=np.int64),
            rules.overlap_threshold,
        )
        new_keys = np.where(owners > 0, owners + len(kept) + len(slot_regions) - 1, 0)
        kept += [candidates.order.index(index) for index, area in zip(ordered, block_areas) if area]
        areas += [int(area) for area in block_areas if area]
        if not blocks:
            new_keys[(found.regions > 0) & ~found.owned & (owners == 0)] = unreached
        claimed = upload(new_keys, labels.device)[torch.searchsorted(patterns, words)]
        keys = claimed if keys is None else keys + claimed
        if not blocks:
            free = found.counts * (~found.owned & (owners == 0))
            per_label = (found.slot_areas, np.bincount(found.slots, free, minlength=len(slot_regions)))
            label_areas, free_areas = (slot_areas[1:-2].astype(np.int64).tolist() for slot_areas in per_label)
            return ClaimedPixels(candidates, Claims(kept, areas), slots, keys, unit, unreached, label_areas, free_areas)


@dataclass(frozen=True)
class _Patterns:
    """U patterns.

    Attributes:
        masks: (U,) uint64, the patterns, whose first bits are those of the masks.
        slots: (U,) int64.
        regions: (U,) int64, the regions of their slots.
        owned: (U,) bool, whether their pixels have an owner.
        counts: (U,) int64, their pixels.
        slot_areas: (K + 3,) int64, the pixels of each slot.
    """

    masks: np.ndarray
    slots: np.ndarray
    regions: np.ndarray
    owned: np.ndarray
    counts: np.ndarray
    slot_areas: np.ndarray


def _read_patterns(read: np.ndarray, capacity: int, slot_regions: np.ndarray) -> _Patterns:
    """Read the result of `_count_patterns`."""
    counts = np.diff(read[capacity : 2 * capacity], prepend=0)
    masks = read[:capacity].view(np.uint64)
    slots = (masks >> np.uint64(SLOT_BIT)).astype(np.int64)
    owned = (masks >> np.uint64(OWNED_BIT) & np.uint64(1)).astype(bool)
    slot_areas = np.bincount(slots, counts, minlength=len(slot_regions)).astype(np.int64)
    return _Patterns(masks, slots, slot_regions[slots], owned, counts, slot_areas)


def number_slots(labels: Tensor, num_labels: int, ignore_label: int) -> Tensor:
    """Return the closed map of slots."""
    closed = F.pad(labels.long(), (0, 1, 0, 1), value=ignore_label)
    return (closed.clamp(-1, num_labels) + 1).masked_fill_(closed == ignore_label, num_labels + 2)


def _pack(thing_ids: Tensor, scores: Tensor) -> Tensor:
    """Return (2 N,) int64: thing ids, and the bits of the scores as float64."""
    return torch.cat([thing_ids, scores.double().view(torch.int64)])


def _select(values: np.ndarray, table: ClassTable, rules: Rules) -> Candidates:
    """Select the candidates from the values of `_pack`."""
    thing_ids, scores = values.reshape(2, -1)
    return select_candidates(thing_ids.tolist(), scores.view(np.float64).tolist(), table, rules)


def _split(indices: Sequence[int], size: int) -> list[list[int]]:
    """Split indices into blocks of at most `size`; no index is one empty block."""
    return [list(indices[start : start + size]) for start in range(0, max(len(indices), 1), max(size, 1))]


def _make_words(slots: Tensor, masks: BoxMasks, block: list[int]) -> tuple[Tensor, list[int]]:
    """Return the patterns (H + 1, W + 1) int64 of slots and the masks of a block, and the mask of each bit."""
    words = slots << SLOT_BIT
    ordered: list[int] = []
    for map, positions, indices in masks[block].by_map():
        # Eight masks a byte, then the bytes side by side, so that no tensor is larger than the masks. The last byte is
        # completed by a mask of weight 0.
        chosen = [block[position] for position in positions]
        missing = -len(chosen) % 8
        windows = masks.windows[chosen + chosen[:1] * missing]
        planes = map.paste(indices + indices[:1] * missing, windows, (slots.shape[0], slots.shape[1])).view(torch.uint8)
        weights = [1 << i % 8 for i in range(len(chosen))] + [0] * missing
        planes.mul_(upload(torch.tensor(weights, dtype=torch.uint8)[:, None, None], slots.device))
        packed = planes.view(-1, 8, *slots.shape).sum(1, dtype=torch.uint8)
        places = [1 << (len(ordered) + 8 * byte) for byte in range(len(packed))]
        words += (packed * upload(torch.tensor(places)[:, None, None], slots.device)).sum(0)
        ordered += chosen
    return words, ordered


def _count_patterns(words: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """Return the first `capacity` different words, ascending, and the number of words up to each of them.

    If there are fewer, the last one is repeated. The size of a result that depended on the words would have to be
    waited for.
    """
    ordered = words.sort().values
    # The closing row has a pattern of its own, so that the last word differs from the first or all are alike.
    number = (ordered != ordered.roll(1)).cumsum(0)
    ends = torch.searchsorted(number, torch.arange(1, capacity + 1, device=words.device), right=True)
    return ordered[ends - 1], ends


@compiled
def _claim_patterns(
    patterns: np.ndarray,
    regions: np.ndarray,
    owned: np.ndarray,
    counts: np.ndarray,
    bits: np.ndarray,
    mask_regions: np.ndarray,
    overlap_threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Let instances own the free pixels of their masks and regions, where pixels are known by their patterns only.

    Args:
        patterns: (U,) uint64, with a bit for each mask that covers the pixels.
        regions: (U,) int64, the region of the pixels; 0 outside.
        owned: (U,) bool, whether the pixels have an owner.
        counts: (U,) int64, pixels.
        bits: (C,) uint64, the bit of each instance, by falling score.
        mask_regions: (C,) int64, the region of each instance.
        overlap_threshold: see `SemanticGuidedOptions`.

    Returns:
        (U,) int64, the new owners, from 1 in the order of the kept instances, 0 = none; (C,) int64, the pixels that
        each instance owns, 0 for a dropped one.
    """
    owners = np.zeros(len(patterns), dtype=np.int64)
    areas = np.zeros(len(bits), dtype=np.int64)
    kept = 0
    for instance in range(len(bits)):
        free, taken = 0, 0
        for i in range(len(patterns)):
            if regions[i] == mask_regions[instance] and (patterns[i] >> bits[instance]) & np.uint64(1):
                if owned[i] or owners[i] != 0:
                    taken += counts[i]
                else:
                    free += counts[i]
        if free == 0 or taken / (free + taken) > overlap_threshold:
            continue
        kept += 1
        areas[instance] = free
        for i in range(len(patterns)):
            covered = regions[i] == mask_regions[instance] and (patterns[i] >> bits[instance]) & np.uint64(1)
            if covered and not owned[i] and owners[i] == 0:
                owners[i] = kept
    return owners, areas
