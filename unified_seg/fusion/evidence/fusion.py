"""Fusion of a semantic map and instances by evidence: the log-odds of masks and of the map are added at each pixel.

It follows the idea of Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation (2018), that classes
come from the detections and outlines from the semantic map, and adds how sure and how fine both are.
projects/fusion_scheme/README.md has the theory.

(H, W) = the image, N = given instances, F = instances found by the semantic map alone.
"""

import torch
from torch import Tensor

from unified_seg.fusion.array_masks import to_tensors
from unified_seg.fusion.evidence.inputs import SemanticEvidence, to_level_arrays
from unified_seg.fusion.evidence.tensor_steps import fuse_tensors
from unified_seg.fusion.input_checks import check_labels, check_shapes
from unified_seg.fusion.semantic_guided import SemanticGuidedResult, collect_result
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.soft_masks import SoftMasks
from unified_seg_arrays.fusion.evidence import fuse_compiled
from unified_seg_arrays.fusion.evidence_weights import weigh
from unified_seg_arrays.fusion.options import SemanticGuidedOptions, make_rules
from unified_seg_arrays.fusion.steps import select_candidates


def fuse_by_evidence(
    semantic: SemanticEvidence,
    masks: BoxMasks,
    soft_masks: SoftMasks,
    thing_ids: Tensor,
    scores: Tensor,
    table: ClassTable,
    options: SemanticGuidedOptions | None = None,
) -> SemanticGuidedResult:
    """Weigh masks and semantic map at each pixel, and let the strongest instance own it.

    1. The evidence of an instance at a pixel of its window is the sum of two log-odds: those of its soft mask, and
       those of the semantic map for its category, times a weight. The weight grows from 0 to 1 as the map gets finer
       than the mask: a / (a + b), for the area a of a cell of the mask (its box / 28) and the area b of a cell of the
       map (its stride). On a label of the category the log-odds of the map are those of the category, at least 0; on
       others those of their category, at least 0, with a minus.
    2. Instances, by falling score (of equal scores the lower index first), claim the pixels where their evidence is
       positive. An instance is dropped if no such pixel is free, or if more than `overlap_threshold` of them are
       claimed by instances before it. A pixel goes to the strongest evidence; of equal ones to the higher score.
    3. Foreground (labels that are things) without an owner goes to the geodesically nearest owner of its category,
       along pixels of that category, but not too far: a cell of the owner's mask, by which the mask may be wrong; or,
       for a fine map, as far as its evidence carries. That of a mask falls by FALL_PER_CELL in each cell beyond its
       outline, and a map that is certain has weight * 6.2. Distances are whole pixels.
    4. Connected components of one label that no owner reaches, at any distance, become instances of their own ("found")
       if they are large enough and the map is sure of them, by a mean confidence of FOUND_CONFIDENCE.
    5. A stuff class is one segment if its pixels without an owner are enough, else void. So are things without an
       owner.
    6. The refined semantic map has the owner's class where its score exceeds the confidence of the given label.

    Args:
        semantic: the semantic map, on the device of the masks.
        masks: N masks; those of instances that own no pixel are returned as they are.
        soft_masks: the same instances' N soft masks.
        thing_ids: (N,) int64 thing ids.
        scores: (N,).
        table: the classes; their categories define which classes may exchange pixels.
        options: thresholds; by default those of `SemanticGuidedOptions`.

    Raises:
        ValueError: see `input_checks`; maps or masks of different sizes.
    """
    labels = semantic.labels
    check_shapes(labels, masks, thing_ids, scores)
    _check_evidence(semantic, masks, soft_masks)
    rules = make_rules(options or SemanticGuidedOptions(), table, labels.numel())
    if labels.device.type == "cpu":
        check_labels(labels, table)
        candidates = select_candidates(thing_ids.tolist(), scores.tolist(), table, rules)
        weights = weigh(soft_masks.cells.numpy(), candidates, semantic.cell)
        chosen = to_level_arrays(soft_masks[candidates.order])
        fused = to_tensors(fuse_compiled(semantic.to_arrays(), chosen, candidates.semantic_ids, weights, rules))
    else:
        candidates, fused = fuse_tensors(semantic, soft_masks, thing_ids, scores, table, rules)
    return collect_result(fused, candidates, masks, thing_ids, scores, table)


def _check_evidence(semantic: SemanticEvidence, masks: BoxMasks, soft_masks: SoftMasks) -> None:
    for name in ("confidences", "category_confidences"):
        map: Tensor = getattr(semantic, name)
        if map.shape != semantic.labels.shape or map.dtype != torch.uint8:
            raise ValueError(
                f"{name}: expected uint8 of the labels' shape {tuple(semantic.labels.shape)}, got {map.dtype} "
                f"{tuple(map.shape)}"
            )
    if len(soft_masks) != len(masks) or soft_masks.image_size != masks.image_size:
        raise ValueError(
            f"soft_masks: expected the {len(masks)} masks of an image {masks.image_size}, got {len(soft_masks)} of "
            f"{soft_masks.image_size}"
        )
    if not semantic.cell > 0:
        raise ValueError(f"cell: must be above 0, got {semantic.cell}")
