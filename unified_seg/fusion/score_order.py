"""Kirillov's heuristic merge of a semantic map and instances.

Source: Kirillov et al., Panoptic Segmentation (2019), section 6; the constants are those of Kirillov et al., Panoptic
Feature Pyramid Networks (2019).

(H, W) = the image, N = instances.
"""

import numpy as np
import torch
from torch import Tensor

from unified_seg.fusion.array_masks import to_arrays
from unified_seg.fusion.claims import claim_pixels
from unified_seg.fusion.input_checks import check_labels, check_shapes
from unified_seg.ops.devices import upload
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.panoptic_map import PanopticMap
from unified_seg_arrays.fusion.score_order import Merged, make_score_rules, merge_arrays
from unified_seg_arrays.fusion.steps import Rules, number_stuff, select_candidates, select_stuff


def merge_by_score(
    labels: Tensor,
    masks: BoxMasks,
    thing_ids: Tensor,
    scores: Tensor,
    table: ClassTable,
    *,
    score_threshold: float = 0.5,
    overlap_threshold: float = 0.5,
    stuff_area_limit: int = 4096,
) -> PanopticMap:
    """Merge instances by falling score, each on the pixels that are still free, then stuff on the remaining pixels.

    Detectron2's version takes semantic label 0 to mean "things"; here the class table defines which labels are things.

    Args:
        labels: (H, W) integer semantic ids.
        masks: N masks; they may overlap.
        thing_ids: (N,) int64 thing ids.
        scores: (N,).
        table: the classes.
        score_threshold: instances with a lower score are left out.
        overlap_threshold: an instance is dropped if more than this fraction of it, or all of it, is already assigned.
        stuff_area_limit: stuff of fewer pixels becomes void.

    Raises:
        ValueError: see `input_checks`.
    """
    check_shapes(labels, masks, thing_ids, scores)
    rules = make_score_rules(table, score_threshold, overlap_threshold, stuff_area_limit)
    if labels.device.type != "cpu":
        merged = _merge_at_once(labels, masks, thing_ids, scores, table, rules)
        return PanopticMap(merged.ids, merged.describe())
    check_labels(labels, table)
    candidates = select_candidates(thing_ids.tolist(), scores.tolist(), table, rules)
    on_cpu = merge_arrays(labels.numpy(), to_arrays(masks), candidates, table, rules)
    return PanopticMap(torch.from_numpy(on_cpu.ids), on_cpu.describe())


def _merge_at_once(
    labels: Tensor, masks: BoxMasks, thing_ids: Tensor, scores: Tensor, table: ClassTable, rules: Rules
) -> Merged[Tensor]:
    """Merge on an accelerator, which is waited for once; see `claims`."""
    claimed = claim_pixels(labels, masks, thing_ids, scores, table, rules, void_region=1)
    stuff = select_stuff(claimed.free_areas, table.is_thing, rules.min_stuff_area)
    stuff_ids = number_stuff(stuff, len(claimed.claims.kept), rules)
    height, width = labels.shape
    keys, slots = (each[:height, :width] for each in (claimed.keys, claimed.slots))
    others = upload(np.array([0, *stuff_ids[:-1], 0, 0]), labels.device)[slots]
    # The owner with the number K + 3 is the first segment.
    ids = torch.where(keys == claimed.unreached, others, keys - (table.num_semantic + 2))
    return Merged(ids.int(), claimed.candidates, claimed.claims, stuff)
