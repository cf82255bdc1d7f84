"""The semantic-guided fusion's steps in tensor code, for any device.

(H, W) = the image, K = semantic ids, N = candidates, M = instances of the result.
"""

import numpy as np
import torch
from torch import Tensor

from unified_seg.fusion.region_sweeps import grow_by_sweeps, label_components_by_sweeps
from unified_seg.fusion.steps import FusedPixels, Rules, number_stuff, select_stuff
from unified_seg.structures.box_masks import BoxMasks


def fuse_tensors(labels: Tensor, masks: BoxMasks, semantic_ids: list[int], rules: Rules) -> FusedPixels:
    """Run the steps on the device of `labels`; see `compiled_steps.fuse_compiled` for the arguments."""
    device = labels.device
    k = len(rules.region_of)
    # The ignore label becomes K, as int64: in the labels' own type it could wrap around into a class.
    semantic = labels.long()
    semantic = torch.where(semantic == rules.ignore_label, k, semantic)
    region_of = torch.tensor([*rules.region_of.tolist(), 0], device=device)
    regions = region_of[semantic]
    owners = torch.zeros(labels.shape, dtype=torch.int64, device=device)

    kept = _claim_masks(owners, regions, masks, semantic_ids, rules)
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
    stuff = select_stuff(label_areas[:k], rules)
    semantic_of_owner = torch.tensor([0, *(semantic_ids[candidate] for candidate in kept), *found], device=device)
    stuff_ids = torch.from_numpy(number_stuff(stuff, len(semantic_of_owner) - 1, rules)).to(device)
    owned = owners > 0
    ids = torch.where(owned, owners, stuff_ids[semantic])
    refined = torch.where(owned, semantic_of_owner[owners], labels).to(labels.dtype)
    areas, windows = _measure_extents(owners, len(semantic_of_owner) - 1)
    cut = [ids[y0:y1, x0:x1] == i for i, (x0, y0, x1, y1) in enumerate(windows.tolist(), start=1)]
    image_size = (labels.shape[0], labels.shape[1])
    return FusedPixels(ids.int(), refined, kept, found, areas.tolist(), BoxMasks(windows, cut, image_size), stuff)


def _claim_masks(owners: Tensor, regions: Tensor, masks: BoxMasks, semantic_ids: list[int], rules: Rules) -> list[int]:
    """Let candidates own the free pixels of their masks, in place; return the kept ones."""
    count = torch.zeros((), dtype=torch.int64, device=owners.device)
    keeps: list[Tensor] = []
    for semantic_id, (window, mask) in zip(semantic_ids, masks):
        matched = mask & (regions[window] == int(rules.region_of[semantic_id]))
        free = matched & (owners[window] == 0)
        area, free_area = matched.sum(), free.sum()
        # Tensors, not numbers: reading a number would wait for the device.
        keep = (free_area > 0) & ((area - free_area).double() / area <= rules.overlap_threshold)
        count = count + keep
        owners[window] = torch.where(free & keep, count, owners[window])
        keeps.append(keep)
    return torch.stack(keeps).nonzero()[:, 0].tolist() if keeps else []


def _measure_extents(owners: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return (M,) pixels and (M, 4) tight window of each owner 1 .. M."""
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
