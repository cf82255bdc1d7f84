"""Kirillov's heuristic merge of a semantic map and instances.

Source: Kirillov et al., Panoptic Segmentation (2019), section 6; the constants are those of Kirillov et al., Panoptic
Feature Pyramid Networks (2019).

(H, W) = the image, N = instances.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unified_seg.fusion.claims import claim_pixels
from unified_seg.fusion.input_checks import check_labels, check_shapes
from unified_seg.fusion.steps import Candidates, Claims, Rules, number_stuff, select_candidates, select_stuff
from unified_seg.ops.devices import upload
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.panoptic_map import PanopticMap, SegmentsInfo


class Merged(NamedTuple):
    """The merged map: instances 1, 2, ... in the order of their scores, then stuff.

    Attributes:
        ids: (H, W) int32; 0 = void.
        candidates: the instances whose score is high enough.
        claims: those of them that are segments.
        stuff: (semantic id, area) of each stuff segment.
    """

    ids: Tensor
    candidates: Candidates
    claims: Claims
    stuff: list[tuple[int, int]]


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
        ValueError: see `check_inputs`.
    """
    check_shapes(labels, masks, thing_ids, scores)
    # A single region: an instance may own pixels of any label.
    rules = Rules(
        region_of=np.ones(table.num_semantic, dtype=np.int64),
        ignore_label=table.ignore_label,
        score_threshold=score_threshold,
        overlap_threshold=overlap_threshold,
        min_segment_area=math.inf,
        min_stuff_area=stuff_area_limit,
        connectivity=4,
    )
    merge = _merge_one_by_one if labels.device.type == "cpu" else _merge_at_once
    merged = merge(labels, masks, thing_ids, scores, table, rules)
    return PanopticMap(merged.ids, _describe(merged))


def _merge_one_by_one(
    labels: Tensor, masks: BoxMasks, thing_ids: Tensor, scores: Tensor, table: ClassTable, rules: Rules
) -> Merged:
    """Merge on the CPU."""
    check_labels(labels, table)
    candidates = select_candidates(thing_ids.tolist(), scores.tolist(), table, rules)
    ids = torch.zeros(labels.shape, dtype=torch.int32)
    claims = Claims([], [])
    for position, (window, mask) in enumerate(masks[candidates.order].crops()):
        area = int(mask.sum())
        free = mask & (ids[window] == 0)
        free_area = int(free.sum())
        if free_area == 0 or (area - free_area) / area > rules.overlap_threshold:
            continue
        claims.kept.append(position)
        claims.areas.append(free_area)
        ids[window][free] = len(claims.kept)
    free = ids == 0
    left = labels[free]
    areas = torch.bincount(left[left != table.ignore_label].long(), minlength=table.num_semantic).tolist()
    stuff = select_stuff(areas, table.is_thing, rules.min_stuff_area)
    for number, (semantic_id, _) in enumerate(stuff, len(claims.kept) + 1):
        ids[free & (labels == semantic_id)] = number
    return Merged(ids, candidates, claims, stuff)


def _merge_at_once(
    labels: Tensor, masks: BoxMasks, thing_ids: Tensor, scores: Tensor, table: ClassTable, rules: Rules
) -> Merged:
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


def _describe(merged: Merged) -> SegmentsInfo:
    segments: SegmentsInfo = []
    for position, area in zip(merged.claims.kept, merged.claims.areas):
        index = merged.candidates.order[position]
        thing_id, score = merged.candidates.thing_ids[index], merged.candidates.scores[index]
        segment = {"id": len(segments) + 1, "isthing": True, "category_id": thing_id, "area": area}
        segments.append({**segment, "score": score, "instance_id": index})
    for semantic_id, area in merged.stuff:
        segments.append({"id": len(segments) + 1, "isthing": False, "category_id": semantic_id, "area": area})
    return segments
