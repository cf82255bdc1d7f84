"""The semantic-guided fusion's steps on an accelerator: few operators, whatever the number of instances.

Each reading of a result waits for the accelerator. There are three: the patterns of the claims, whether regions have
stopped growing, and the extents of the instances. Regions that still grow after some rounds wind a lot; they grow on
the CPU, by a queue, so the number of operators is bounded.

(H, W) = the image, K = semantic ids, N = given instances, M = instances of the result; see `claims` for slots and
numbers.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unified_seg.fusion.array_masks import FusedTensors
from unified_seg.fusion.claims import ClaimedPixels, claim_pixels
from unified_seg.fusion.region_sweeps import RegionSweeps
from unified_seg.ops.devices import upload
from unified_seg.structures.box_masks import BoxMasks, SharedMask
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.mask_maps import OwnerMap
from unified_seg_arrays.fusion.semantic_guided import finish_compiled
from unified_seg_arrays.fusion.steps import Candidates, FusedArrays, Rules, number_stuff, select_stuff

# Instances whose masks are measured together: 64 full masks.
MEASURED = 64


def fuse_tensors(
    labels: Tensor, masks: BoxMasks, thing_ids: Tensor, scores: Tensor, table: ClassTable, rules: Rules
) -> tuple[Candidates, FusedTensors]:
    """Run the steps on the device of `labels`; see `fuse_semantic_guided` for the arguments.

    Raises:
        ValueError: see `input_checks`.
    """
    claimed = claim_pixels(labels, masks, thing_ids, scores, table, rules)
    kept, slots = len(claimed.claims.kept), claimed.slots
    things = table.is_thing
    maps = np.array([[0, *rules.region_of, 0, 0], [0, *np.where(things, np.arange(len(things)) + 1, 0), 0, 0]])
    sweeps = RegionSweeps(
        upload(maps, labels.device)[:, slots], [claimed.unit, 0], claimed.unreached, rules.connectivity
    )
    # Two maps grow at once: owners in categories, and in labels the first pixel of each connected component.
    index = torch.arange(slots.numel(), device=labels.device).view(slots.shape)
    keys = sweeps.relax(torch.stack([claimed.keys, index.masked_fill(claimed.keys == 0, 0)]))
    owned, first = keys.unbind(0)
    owners = owned % claimed.unit
    if np.isfinite(rules.min_segment_area):
        free = owned >= claimed.unreached
        # Each component is counted at its first pixel; other pixels count nothing, each at itself.
        places = torch.where(free, first, index).view(-1)
        sizes = torch.zeros_like(places).scatter_add_(0, places, free.view(-1).long())
        large = sizes >= max(rules.min_segment_area, 1)
        found_order = large.cumsum(0)
        numbers = (found_order + (table.num_semantic + 2 + kept)) * large
        owners = torch.where(free, numbers[first], owners)
    else:
        found_order = torch.zeros(1, dtype=torch.int64, device=labels.device)
    unsettled, num_found = torch.stack([sweeps.needs_more(keys), found_order[-1]]).tolist()
    if unsettled:
        return claimed.candidates, _finish_on_cpu(labels, claimed, rules)
    return claimed.candidates, _write_maps(labels, claimed, owners, found_order, num_found, rules)


def _write_maps(
    labels: Tensor, claimed: ClaimedPixels, owners: Tensor, found_order: Tensor, num_found: int, rules: Rules
) -> FusedTensors:
    """Return the result of settled owners: (H + 1, W + 1) int64, numbers.

    Args:
        found_order: (P,) int64, how many found instances begin up to a pixel.
    """
    candidates, slots, device = claimed.candidates, claimed.slots, labels.device
    num_slots, kept = len(rules.region_of) + 3, claimed.claims.kept
    count = len(kept) + num_found
    starts = torch.searchsorted(found_order, torch.arange(1, num_found + 1, device=device))
    rows, columns, found_slots = read_extents(owners, range(num_slots, num_slots + count), slots.view(-1)[starts])
    found = (found_slots - 1).tolist()

    semantic_ids = candidates.semantic_ids
    semantic_of_owner = [*(semantic_ids[candidate] for candidate in kept), *found]
    stuff = select_stuff(claimed.label_areas, rules.region_of > 0, rules.min_stuff_area)
    stuff_ids = number_stuff(stuff, count, rules)
    # What a pixel becomes, by its slot or the number of its owner, which is larger.
    new_ids = [0, *stuff_ids[:-1], 0, 0, *range(1, count + 1)]
    new_labels = [0, *range(len(rules.region_of)), 0, rules.ignore_label, *semantic_of_owner]
    height, width = labels.shape
    source = torch.maximum(owners, slots)[:height, :width]
    ids = upload(torch.tensor(new_ids, dtype=torch.int32), device)[source]
    return FusedTensors(
        ids=ids,
        labels=upload(torch.tensor(new_labels).to(labels.dtype), device)[source],
        kept=kept,
        found=found,
        areas=rows.sum(axis=1).tolist(),
        masks=share_masks(ids, find_windows(rows, columns)),
        stuff=stuff,
    )


def read_extents(owners: Tensor, numbers: Sequence[int], more: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read how many pixels of each owner are in each row (M, H + 1) and column (M, W + 1), and further integers."""
    height, width = owners.shape
    counts = []
    for start in range(0, len(numbers), MEASURED):
        masks = owners == upload(torch.tensor(numbers[start : start + MEASURED])[:, None, None], owners.device)
        sums = torch.cat([masks.sum(2, dtype=torch.int32), masks.sum(1, dtype=torch.int32)], dim=1)
        counts.append(sums.view(-1))
    read = torch.cat([*counts, more]).cpu().numpy()
    table, rest = np.split(read, [len(numbers) * (height + width)])
    rows, columns = np.split(table.reshape(-1, height + width), [height], axis=1)
    return rows, columns, rest


def find_windows(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return (M, 4) int64, the tight windows of masks with pixels in these rows and columns."""
    bounds = []
    for counts in (columns, rows):
        present = counts > 0
        bounds.append((present.argmax(axis=1), counts.shape[1] - present[:, ::-1].argmax(axis=1)))
    (x0, x1), (y0, y1) = bounds
    return np.stack([x0, y0, x1, y1], axis=1).astype(np.int64)


def share_masks(ids: Tensor, windows: np.ndarray | Tensor) -> BoxMasks:
    """Return the masks of the segments 1 .. M."""
    # A copy: a caller may renumber the panoptic map in place.
    owners = OwnerMap(ids.clone())
    masks = [SharedMask(owners, number) for number in range(1, len(windows) + 1)]
    return BoxMasks(torch.as_tensor(windows), masks, (ids.shape[0], ids.shape[1]), ids.device)


def upload_fused(fused: FusedArrays, device: torch.device) -> FusedTensors:
    """Return fused maps on a device, with masks that share them."""
    ids = upload(fused.ids, device)
    masks = share_masks(ids, fused.masks.windows)
    return FusedTensors(ids, upload(fused.labels, device), fused.kept, fused.found, fused.areas, masks, fused.stuff)


def _finish_on_cpu(labels: Tensor, claimed: ClaimedPixels, rules: Rules) -> FusedTensors:
    """Grow and write the maps on the CPU, and return them on the device of the labels."""
    height, width = labels.shape
    keys = claimed.keys[:height, :width]
    first = len(rules.region_of) + 2
    numbers = torch.where(keys < claimed.unreached, keys - first, 0).clamp_(min=0)
    # One copy for both maps.
    read = torch.stack([numbers.int(), labels.int()]).cpu()
    given = read[1].to(labels.dtype).numpy()
    fused = finish_compiled(given, read[0].numpy(), claimed.claims, claimed.candidates.semantic_ids, rules)
    return upload_fused(fused, labels.device)
