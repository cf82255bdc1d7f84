"""Panoptic fusion: a semantic map and instance masks become one map of segments.

(H, W) = the image, N = instances.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unified_seg.functional.box_masks import BoxMasks
from unified_seg.functional.class_table import ClassTable

SegmentsInfo = list[dict[str, Any]]


@dataclass
class PanopticMap:
    """A panoptic segmentation.

    Attributes:
        ids: (H, W) int32, the segment of each pixel, 0 = void.
        segments_info: one dict a segment: id, category_id (thing id or semantic id), isthing, area, and of things
            score and instance_id, the index of the instance it came from.
    """

    ids: Tensor
    segments_info: SegmentsInfo


def score_order_merge(
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
    """Kirillov's heuristic merge: instances by falling score, each keeping what is free; then stuff where it is free.

    Source: Kirillov et al., Panoptic Segmentation, section 6, with the constants of Panoptic Feature Pyramid Networks.
    Detectron2's version takes semantic label 0 to mean "things"; here the class table says which labels are things.

    Args:
        labels: (H, W) integer semantic ids.
        masks: N masks; they may overlap.
        thing_ids: (N,) int64 thing ids.
        scores: (N,).
        table: the meaning of the ids.
        score_threshold: instances below it are left out.
        overlap_threshold: an instance is dropped when more than this fraction of it, or all of it, is taken already.
        stuff_area_limit: stuff of fewer pixels becomes void.
    """
    ids = torch.zeros(labels.shape, dtype=torch.int32, device=labels.device)
    segments: SegmentsInfo = []
    windows = list(masks)
    # Stable: of equal scores the lower index comes first, on every device.
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

    free = ids == 0
    for semantic_id in torch.unique(labels[free]).tolist():
        if semantic_id >= table.num_semantic or table.is_thing[semantic_id]:
            continue
        stuff = free & (labels == semantic_id)
        area = int(stuff.sum())
        if area < stuff_area_limit:
            continue
        ids[stuff] = len(segments) + 1
        segments.append({"id": len(segments) + 1, "isthing": False, "category_id": semantic_id, "area": area})
    return PanopticMap(ids, segments)
