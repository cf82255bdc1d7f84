"""The steps of the fusion by evidence on an accelerator: few operators, whatever the number of instances.

Four readings of results wait for the accelerator: scores, the patterns of the claims, whether regions have stopped
growing, and the extents of the instances. If regions still grow then, everything runs on the CPU instead.

(H, W) = the image, K = semantic ids, N = candidates, M = instances of the result; see `fusion.claims` for slots and
numbers, `fusion.region_sweeps` for closed maps.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.fusion.array_masks import FusedTensors
from unified_seg.fusion.claims import claim_pixels, number_slots
from unified_seg.fusion.evidence.inputs import SemanticEvidence, to_level_arrays
from unified_seg.fusion.input_checks import check_labels
from unified_seg.fusion.region_sweeps import RegionSweeps
from unified_seg.fusion.tensor_steps import find_windows, read_extents, share_masks, upload_fused
from unified_seg.ops.devices import upload
from unified_seg.ops.levels import LEVELS
from unified_seg.structures.box_masks import BoxMasks, SharedMask
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.mask_maps import MaskStack
from unified_seg.structures.soft_masks import SoftMasks
from unified_seg_arrays.fusion.evidence import fuse_compiled
from unified_seg_arrays.fusion.evidence_weights import FOUND_CONFIDENCE, Weights, weigh
from unified_seg_arrays.fusion.steps import Candidates, Rules, number_stuff, select_candidates, select_stuff

# Of a key that orders claims of a pixel: the strength above, the rank of the claimant below.
RANKS = 2**16


def fuse_tensors(
    semantic: SemanticEvidence, masks: SoftMasks, thing_ids: Tensor, scores: Tensor, table: ClassTable, rules: Rules
) -> tuple[Candidates, FusedTensors]:
    """Run the steps on the device of `semantic`; see `fuse_by_evidence` for the arguments.

    Raises:
        ValueError: see `input_checks`.
    """
    read = torch.cat([thing_ids.double(), scores.double()]).tolist()
    things, all_scores = [int(thing) for thing in read[: len(thing_ids)]], read[len(thing_ids) :]
    check_labels(semantic.labels, table)
    candidates = select_candidates(things, all_scores, table, rules)
    weights = weigh(masks.cells.numpy(), candidates, semantic.cell)
    masks = masks[candidates.order]
    owners, kept = _claim_pixels(semantic, masks, candidates, weights, thing_ids, scores, table, rules)
    grown = _grow(semantic, owners, kept, candidates, weights, rules)
    unsettled, num_found = grown.settled.tolist()
    if unsettled:
        return candidates, _fuse_on_cpu(semantic, masks, candidates.semantic_ids, weights, rules)
    return candidates, _write_maps(semantic, grown, num_found, kept, candidates, weights, rules)


def _claim_pixels(
    semantic: SemanticEvidence,
    masks: SoftMasks,
    candidates: Candidates,
    weights: Weights,
    thing_ids: Tensor,
    scores: Tensor,
    table: ClassTable,
    rules: Rules,
) -> tuple[Tensor, list[int]]:
    """Return (H, W) int64, the number of the kept candidate with the strongest evidence, from 1; and the kept ones."""
    labels, device = semantic.labels, semantic.labels.device
    pieces = _measure_evidence(semantic, masks, candidates, weights, rules)
    shared: dict[int, SharedMask] = {}
    for piece in pieces:
        # MaskStack reads its last row and column as the outside.
        stack = MaskStack(F.pad(piece.values > 0, (0, 1, 0, 1)))
        shared.update({position: SharedMask(stack, index) for index, position in enumerate(piece.positions)})
    supports = BoxMasks(masks.windows, [shared[i] for i in range(len(masks))], masks.image_size, device)
    # Claims of instances of all categories compete: as if the image had one label.
    everywhere = replace(rules, region_of=np.ones_like(rules.region_of))
    order = upload(np.array(candidates.order, dtype=np.int64), device)
    claims = claim_pixels(torch.zeros_like(labels), supports, thing_ids[order], scores[order], table, everywhere).claims
    ranks = np.full(len(masks), -1)
    ranks[claims.kept] = np.arange(len(claims.kept))
    keys = torch.zeros(labels.numel(), dtype=torch.int64, device=device)
    for piece in pieces:
        rank = upload(ranks[piece.positions][:, None, None], device)
        # The bits of positive numbers are ordered as the numbers are.
        strength = piece.values.view(torch.int32).long() * RANKS + (RANKS - 1 - rank)
        claimed = strength.masked_fill((piece.values <= 0) | (rank < 0), 0)
        keys.scatter_reduce_(0, piece.pixels.flatten(), claimed.flatten(), "amax")
    owners = torch.where(keys > 0, RANKS - keys % RANKS, 0).view(labels.shape)
    return owners, claims.kept


@dataclass(frozen=True)
class _Evidence:
    """The evidence of some candidates in their windows.

    Attributes:
        positions: the n candidates.
        values: (n, h, w) float32, 0 beside the windows.
        pixels: (n, h, w) int64, the flat index of each pixel; any beside the windows.
    """

    positions: list[int]
    values: Tensor
    pixels: Tensor


def _measure_evidence(
    semantic: SemanticEvidence, masks: SoftMasks, candidates: Candidates, weights: Weights, rules: Rules
) -> list[_Evidence]:
    height, width = semantic.labels.shape
    device = semantic.labels.device
    regions = _map_regions(semantic.labels, rules).flatten()
    # A void label has probability 1/2 for every category.
    categories = semantic.category_confidences.long()
    # As int64: PyTorch would compare bytes with an ignore label above 255 modulo 256.
    categories = categories.masked_fill(semantic.labels.long() == rules.ignore_label, LEVELS // 2 - 1).flatten()
    tables = upload(np.stack([weights.mask, weights.map]).reshape(2, -1), device)
    own_regions = rules.region_of[candidates.semantic_ids].astype(np.int64)
    pieces = []
    for stack, positions, indices in masks.by_stack():
        windows = masks.windows[positions].numpy()
        x0, y0, x1, y1 = windows.T
        own = np.stack([np.array(indices), x0, y0, x1, y1, own_regions[positions], np.array(positions) * LEVELS])
        plane, x0, y0, x1, y1, region, row = upload(own[..., None, None], device).unbind(0)
        columns = x0 + torch.arange(stack.shape[2], device=device)
        rows = y0 + torch.arange(stack.shape[1], device=device)[:, None]
        inside = (columns < x1) & (rows < y1)
        pixels = rows.clamp(max=height - 1) * width + columns.clamp(max=width - 1)
        of_mask = tables[0][row + stack[plane[:, 0, 0]].long()]
        of_map = tables[1][row + categories[pixels]]
        values = of_mask + torch.where(regions[pixels] == region, of_map, -of_map)
        pieces.append(_Evidence(positions, values.masked_fill(~inside, 0), pixels))
    return pieces


def _map_regions(labels: Tensor, rules: Rules) -> Tensor:
    """Return (H, W) int64, the region of each label; 0 for stuff and void."""
    count = len(rules.region_of)
    labels = labels.long()
    slots = labels.masked_fill(labels == rules.ignore_label, count)
    return upload(np.append(rules.region_of, 0).astype(np.int64), labels.device)[slots]


@dataclass(frozen=True)
class _Grown:
    """Owners after growth, on closed maps (P pixels).

    Attributes:
        owners: (H + 1, W + 1) int64: numbers of kept candidates, then of found instances; 0 = none.
        found_order: (P,) int64, how many found instances begin up to a pixel.
        settled: (2,) int64: whether regions still grow, and the number of found instances.
    """

    owners: Tensor
    found_order: Tensor
    settled: Tensor


def _grow(
    semantic: SemanticEvidence,
    owners: Tensor,
    kept: list[int],
    candidates: Candidates,
    weights: Weights,
    rules: Rules,
) -> _Grown:
    """Grow owners within their categories, and find further instances. Owners are numbered from 1."""
    device = owners.device
    unit = len(kept) + 1
    unreached = (owners.numel() + sum(owners.shape) + 2) * unit
    own_regions = np.array([0, *(rules.region_of[candidates.semantic_ids[i]] for i in kept)], dtype=np.int64)
    regions = _map_regions(semantic.labels, rules)
    foreign = (owners > 0) & (regions != upload(own_regions, device)[owners])
    regions = regions.masked_fill(foreign, 0)
    keys = torch.where(regions > 0, torch.where(owners > 0, owners, unreached), 0)
    labels = semantic.labels.long().masked_fill(regions == 0, -1) + 1
    maps = F.pad(torch.stack([regions, labels]), (0, 1, 0, 1))
    keys = F.pad(keys, (0, 1, 0, 1))
    sweeps = RegionSweeps(maps, [unit, 0], unreached, rules.connectivity)
    index = torch.arange(keys.numel(), device=device).view(keys.shape)
    relaxed = sweeps.relax(torch.stack([keys, index.masked_fill(keys == 0, 0)]))
    owned, first = relaxed.unbind(0)
    number = owned % unit
    limits = upload(np.array([0, *weights.limits[kept]], dtype=np.int64), device)
    free = owned >= unreached
    grown = torch.where(free | (owned // unit > limits[number]), 0, number)
    grown = torch.where(F.pad(foreign, (0, 1, 0, 1)), F.pad(owners, (0, 1, 0, 1)), grown)
    if not np.isfinite(rules.min_segment_area):
        found_order = torch.zeros(1, dtype=torch.int64, device=device)
    else:
        places = torch.where(free, first, index).view(-1)
        counted = torch.stack(
            [free.view(-1).long(), F.pad(semantic.confidences, (0, 1, 0, 1)).view(-1) * free.view(-1)]
        )
        sizes, sums = torch.zeros_like(counted).scatter_add_(1, places.expand(2, -1), counted).unbind(0)
        is_found = (sizes >= max(rules.min_segment_area, 1)) & (sums >= sizes.double() * (FOUND_CONFIDENCE * LEVELS))
        found_order = is_found.cumsum(0)
        numbers = (found_order + len(kept)) * is_found
        grown = torch.where(free, numbers[first], grown)
    return _Grown(grown, found_order, torch.stack([sweeps.needs_more(relaxed).long(), found_order[-1]]))


def _write_maps(
    semantic: SemanticEvidence,
    grown: _Grown,
    num_found: int,
    kept: list[int],
    candidates: Candidates,
    weights: Weights,
    rules: Rules,
) -> FusedTensors:
    """Number the instances that own pixels, and write the maps."""
    labels, owners, device = semantic.labels, grown.owners, semantic.labels.device
    height, width = labels.shape
    num_labels = len(rules.region_of)
    slots = number_slots(labels, num_labels, rules.ignore_label)
    starts = torch.searchsorted(grown.found_order, torch.arange(1, num_found + 1, device=device))
    ownerless = torch.zeros(num_labels + 3, dtype=torch.int64, device=device)
    ownerless.scatter_add_(0, slots.view(-1), (owners == 0).view(-1).long())
    count = len(kept) + num_found
    rows, columns, read = read_extents(owners, range(1, count + 1), torch.cat([slots.view(-1)[starts], ownerless]))
    found = (read[:num_found] - 1).tolist()
    areas = rows.sum(axis=1)
    present = np.flatnonzero(areas)

    semantic_of_owner = [0, *(candidates.semantic_ids[candidate] for candidate in kept), *found]
    label_areas = read[num_found + 1 : num_found + 1 + num_labels].tolist()
    stuff = select_stuff(label_areas, rules.region_of > 0, rules.min_stuff_area)
    stuff_ids = number_stuff(stuff, len(present), rules)
    numbers = np.zeros(count + 1, dtype=np.int64)
    numbers[1 + present] = np.arange(1, len(present) + 1)
    tables = np.stack([numbers, np.array(semantic_of_owner), np.array([0, *weights.sure[kept], *[LEVELS] * num_found])])
    owners = owners[:height, :width]
    number, name, sure = upload(tables.astype(np.int64), device)[:, owners].unbind(0)
    of_label = upload(np.array([0, *stuff_ids[:-1], 0, 0]), device)[slots[:height, :width]]
    ids = torch.where(owners > 0, number, of_label).int()
    return FusedTensors(
        ids=ids,
        labels=torch.where(semantic.confidences < sure, name, labels.long()).to(labels.dtype),
        kept=[candidate for candidate, area in zip(kept, areas) if area],
        found=found,
        areas=areas[present].tolist(),
        masks=share_masks(ids, find_windows(rows[present], columns[present])),
        stuff=stuff,
    )


def _fuse_on_cpu(
    semantic: SemanticEvidence, masks: SoftMasks, semantic_ids: list[int], weights: Weights, rules: Rules
) -> FusedTensors:
    """Run all steps on the CPU, and return the maps on the device of the labels."""
    on_cpu = SemanticEvidence(
        semantic.labels.cpu(), semantic.confidences.cpu(), semantic.category_confidences.cpu(), semantic.cell
    )
    fused = fuse_compiled(on_cpu.to_arrays(), to_level_arrays(masks.cpu()), semantic_ids, weights, rules)
    return upload_fused(fused, semantic.labels.device)
