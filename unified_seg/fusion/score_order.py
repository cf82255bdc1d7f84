"""Kirillov's heuristic merge of a semantic map and instances.

Source: Kirillov et al., Panoptic Segmentation (2019), section 6; the constants are those of Kirillov et al., Panoptic
Feature Pyramid Networks (2019).

(H, W) = the image, N = instances.
"""

import torch
from torch import Tensor

from unified_seg.fusion.input_checks import check_inputs
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.panoptic_map import PanopticMap, SegmentsInfo


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
    check_inputs(labels, masks, thing_ids, scores, table)
    ids = torch.zeros(labels.shape, dtype=torch.int32, device=labels.device)
    segments: SegmentsInfo = []
    windows = list(masks)
    # A stable sort: of equal scores the lower index comes first, on every device.
    for index in scores.argsort(descending=True, stable=True).tolist():
        score = float(scores[index])
        if score < score_threshold:
            break
        window, mask = windows[index]
        area = int(mask.sum())
        free = mask & (ids[window] == 0)
        free_area = int(free.sum())
        if free_area == 0 or (area - free_area) / area > overlap_threshold:
            continue
        segment = {"id": len(segments) + 1, "isthing": True, "category_id": int(thing_ids[index])}
        ids[window][free] = segment["id"]
        segments.append({**segment, "area": free_area, "score": score, "instance_id": index})
    _add_stuff(ids, segments, labels, table, stuff_area_limit)
    return PanopticMap(ids, segments)


def _add_stuff(ids: Tensor, segments: SegmentsInfo, labels: Tensor, table: ClassTable, area_limit: int) -> None:
    """Give each large enough stuff class its free pixels, in place."""
    free = ids == 0
    for semantic_id in torch.unique(labels[free]).tolist():
        if semantic_id == table.ignore_label or table.is_thing[semantic_id]:
            continue
        stuff = free & (labels == semantic_id)
        area = int(stuff.sum())
        if area < area_limit:
            continue
        ids[stuff] = len(segments) + 1
        segments.append({"id": len(segments) + 1, "isthing": False, "category_id": semantic_id, "area": area})
