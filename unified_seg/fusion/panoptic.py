"""Panoptic fusion: a semantic map and instance masks become one map of segments.

(H, W) = the image, N = instances.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unified_seg.fusion.region_growing import check_connectivity
from unified_seg.fusion.steps import FusedPixels, Rules, fuse_compiled, fuse_tensors
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable

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


@dataclass
class GuidedFusion:
    """The result of `semantic_guided_fusion`. N = instances given, F = instances found.

    Attributes:
        panoptic: the panoptic map.
        labels: (H, W), the refined semantic map, of the type of the given one.
        masks: N + F masks: those of kept instances are refined, the others as given; then the found ones.
        thing_ids: (N + F,) int64.
        scores: (N + F,); 0 of the found ones, so that they rank below every detection.
        kept: (N + F,) bool: the instances that are segments of the panoptic map; all found ones are.
        found: (N + F,) bool: found by the semantic map alone.
    """

    panoptic: PanopticMap
    labels: Tensor
    masks: BoxMasks
    thing_ids: Tensor
    scores: Tensor
    kept: Tensor
    found: Tensor


def semantic_guided_fusion(
    labels: Tensor,
    masks: BoxMasks,
    thing_ids: Tensor,
    scores: Tensor,
    table: ClassTable,
    *,
    score_threshold: float = 0.5,
    overlap_threshold: float = 0.5,
    min_stuff_area: float = 0.002,
    min_segment_area: float = 0.0005,
    connectivity: int = 4,
) -> GuidedFusion:
    """Objects say which class, pixels say where: instances fill what the semantic map gives to their category.

    Source: Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation, section IV. The paper gives no
    numbers; the defaults are this project's.

    1. The foreground is every pixel whose label is a thing.
    2. Instances, best first (of equal scores the lower index), own the free pixels of their mask where the label is of
       their own category. One without a free pixel, or with more than `overlap_threshold` of them taken, is dropped.
    3. Foreground that nobody owns goes to the geodesically nearest owner of its category, through pixels of that
       category; of two at the same distance to the better one.
    4. What no owner reaches: connected components of one label become instances of their own ("found") if they are
       large enough. Smaller ones are void in the panoptic map. Where several things share a semantic id nothing is
       found, since the label can't tell which thing it is.
    5. Stuff is a segment per class if it is large enough, else void.
    6. The refined semantic map has the owner's class where there is one and the given label elsewhere.

    Args:
        labels: (H, W) integer semantic ids, or the table's ignore label where there is none.
        masks: N masks; they may overlap.
        thing_ids: (N,) int64 thing ids.
        scores: (N,).
        table: the meaning of the ids; categories say which classes may exchange pixels.
        score_threshold: instances below it stay out of the fusion.
        overlap_threshold: a fraction, 0 to 1.
        min_stuff_area, min_segment_area: fractions of the image, 0 to 1, for steps 5 and 4.
        connectivity: 4 or 8, of the paths in step 3 and the components in step 4.

    Raises:
        ValueError: masks of another size or that don't fit their windows, ids outside the table, scores that are not
            numbers, options out of range.
    """
    check_inputs(labels, masks, thing_ids, scores, table)
    check_options(score_threshold, overlap_threshold, min_stuff_area, min_segment_area, connectivity)
    # Stable: of equal scores the lower index comes first, on every device.
    order = scores.argsort(descending=True, stable=True)
    candidates = order[scores[order].double() >= score_threshold].tolist()
    pixels = labels.numel()
    nameable = len(set(table.thing_to_semantic.tolist())) == table.num_things
    rules = Rules(
        region_of=(table.category_of + 1) * table.is_thing,
        ignore_label=table.ignore_label,
        overlap_threshold=overlap_threshold,
        min_segment_area=min_segment_area * pixels if nameable else math.inf,
        min_stuff_area=min_stuff_area * pixels,
        connectivity=connectivity,
    )
    semantic_ids = [int(table.thing_to_semantic[thing_id]) for thing_id in thing_ids[candidates].tolist()]
    fuse = fuse_compiled if labels.device.type == "cpu" else fuse_tensors
    fused = fuse(labels, masks[candidates], semantic_ids, rules)
    return _describe(fused, candidates, masks, thing_ids, scores, table)


def _describe(
    fused: FusedPixels,
    candidates: list[int],
    masks: BoxMasks,
    thing_ids: Tensor,
    scores: Tensor,
    table: ClassTable,
) -> GuidedFusion:
    """Instances and segments of the fused maps."""
    ids, device = fused.ids, fused.ids.device
    given, found = len(masks), len(fused.found)
    kept = [candidates[position] for position in fused.kept]
    instances = [*kept, *range(given, given + found)]

    all_masks = BoxMasks.cat([masks, fused.masks[len(kept) :]])
    all_masks.windows[kept] = fused.masks.windows[: len(kept)]
    for index, mask in zip(kept, fused.masks.masks):
        all_masks.masks[index] = mask
    found_things = torch.as_tensor(table.semantic_to_thing[fused.found], dtype=torch.int64, device=device)
    all_things, all_scores = torch.cat([thing_ids, found_things]), torch.cat([scores, scores.new_zeros(found)])

    is_kept = torch.zeros(given + found, dtype=torch.bool, device=device)
    is_kept[instances] = True
    segments: SegmentsInfo = [
        {"id": i, "isthing": True, "category_id": thing, "area": area, "score": score, "instance_id": index}
        for i, (index, thing, score, area) in enumerate(
            zip(instances, all_things[instances].tolist(), all_scores[instances].tolist(), fused.areas), start=1
        )
    ]
    for semantic_id, area in fused.stuff:
        segments.append({"id": len(segments) + 1, "isthing": False, "category_id": semantic_id, "area": area})
    return GuidedFusion(
        panoptic=PanopticMap(ids, segments),
        labels=fused.labels,
        masks=all_masks,
        thing_ids=all_things,
        scores=all_scores,
        kept=is_kept,
        found=torch.arange(given + found, device=device) >= given,
    )


def check_inputs(labels: Tensor, masks: BoxMasks, thing_ids: Tensor, scores: Tensor, table: ClassTable) -> None:
    """Raises ValueError for what no fusion can mean anything by."""
    if labels.dim() != 2 or labels.is_floating_point() or not labels.numel():
        raise ValueError(f"labels must be a map (H, W) of integers, got {labels.dtype} of {tuple(labels.shape)}")
    if masks.image_size != tuple(labels.shape):
        raise ValueError(
            f"masks for an image of {masks.image_size}, but the labels are of {tuple(labels.shape)} (H, W)"
        )
    if not len(masks) == len(thing_ids) == len(scores):
        raise ValueError(f"{len(masks)} masks, {len(thing_ids)} classes and {len(scores)} scores")
    # Compiled loops do not look at bounds.
    height, width = labels.shape
    for index, ((x0, y0, x1, y1), mask) in enumerate(zip(masks.windows.tolist(), masks.masks)):
        if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height and mask.shape == (y1 - y0, x1 - x0)):
            raise ValueError(
                f"mask {index} of {tuple(mask.shape)} (H, W) in the window x {x0} .. {x1}, y {y0} .. {y1} "
                f"of an image of {height}x{width}"
            )
    if not torch.isfinite(scores).all():
        raise ValueError(f"scores must be numbers, got {scores[~torch.isfinite(scores)].tolist()}")
    things = thing_ids.tolist()
    if outside := sorted({i for i in things if not 0 <= i < table.num_things}):
        raise ValueError(f"thing ids {outside}, but the class table has {table.num_things} things")
    lowest, highest = (int(bound) for bound in torch.aminmax(labels))
    if lowest < 0 or highest >= table.num_semantic:
        outside = sorted(set(torch.unique(labels).tolist()) - {*range(table.num_semantic), table.ignore_label})
        if outside:
            raise ValueError(
                f"labels {outside} are neither semantic ids (0 .. {table.num_semantic - 1}) nor the ignore label "
                f"{table.ignore_label}"
            )


def check_options(
    score_threshold: float,
    overlap_threshold: float,
    min_stuff_area: float,
    min_segment_area: float,
    connectivity: int,
) -> None:
    """Raises ValueError for options of `semantic_guided_fusion` that are out of range."""
    fractions = {
        "score_threshold": score_threshold,
        "overlap_threshold": overlap_threshold,
        "min_stuff_area": min_stuff_area,
        "min_segment_area": min_segment_area,
    }
    for name, value in fractions.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be 0 to 1, got {value}")
    check_connectivity(connectivity)


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

    Raises:
        ValueError: masks of another size or that don't fit their windows, ids outside the table, scores that are not
            numbers.
    """
    check_inputs(labels, masks, thing_ids, scores, table)
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
        if semantic_id == table.ignore_label or table.is_thing[semantic_id]:
            continue
        stuff = free & (labels == semantic_id)
        area = int(stuff.sum())
        if area < stuff_area_limit:
            continue
        ids[stuff] = len(segments) + 1
        segments.append({"id": len(segments) + 1, "isthing": False, "category_id": semantic_id, "area": area})
    return PanopticMap(ids, segments)
