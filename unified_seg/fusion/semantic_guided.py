"""Semantic-guided fusion of a semantic map and instances.

Source: Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation (2018), section IV. The paper gives no
numbers; the default options are this project's.

(H, W) = the image, N = given instances, F = instances found by the semantic map alone.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.fusion.compiled_steps import fuse_compiled
from unified_seg.fusion.input_checks import check_labels, check_shapes
from unified_seg.fusion.region_growing import check_connectivity
from unified_seg.fusion.steps import Candidates, FusedPixels, Rules, select_candidates
from unified_seg.fusion.tensor_steps import fuse_tensors
from unified_seg.ops.devices import upload
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.panoptic_map import PanopticMap, SegmentsInfo


@dataclass(frozen=True)
class SemanticGuidedOptions:
    """Options of `fuse_semantic_guided`; areas are fractions of the image.

    Attributes:
        score_threshold: instances with a lower score take no part, in [0, 1].
        overlap_threshold: an instance is dropped if more than this fraction of it is already assigned, in [0, 1].
        min_stuff_area: smaller stuff becomes void, in [0, 1].
        min_segment_area: smaller foreground that no instance reaches is not found, in [0, 1].
        connectivity: 4 or 8 neighbors, for region growing and connected components.

    Raises:
        ValueError: an option is out of range.
    """

    score_threshold: float = 0.5
    overlap_threshold: float = 0.5
    min_stuff_area: float = 0.002
    min_segment_area: float = 0.0005
    connectivity: int = 4

    def __post_init__(self) -> None:
        for name in ("score_threshold", "overlap_threshold", "min_stuff_area", "min_segment_area"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")
        check_connectivity(self.connectivity)


@dataclass(frozen=True)
class SemanticGuidedResult:
    """The result of `fuse_semantic_guided`.

    Attributes:
        panoptic: the panoptic map.
        labels: (H, W), the refined semantic map, of the type of the given one.
        masks: N + F masks: refined for kept instances, as given for the others, then those of the found instances.
        thing_ids: (N + F,) int64.
        scores: (N + F,); 0 for found instances, so that they rank below every detection.
        kept: (N + F,) bool: the instances that are segments of the panoptic map, which all found ones are.
        found: (N + F,) bool: the instances found by the semantic map alone.
    """

    panoptic: PanopticMap
    labels: Tensor
    masks: BoxMasks
    thing_ids: Tensor
    scores: Tensor
    kept: Tensor
    found: Tensor


def fuse_semantic_guided(
    labels: Tensor,
    masks: BoxMasks,
    thing_ids: Tensor,
    scores: Tensor,
    table: ClassTable,
    options: SemanticGuidedOptions = SemanticGuidedOptions(),
) -> SemanticGuidedResult:
    """Take the classes from the instances and their outlines from the semantic map.

    1. The foreground is every pixel whose label is a thing.
    2. Instances, by falling score (of equal scores the lower index first), own the free pixels of their mask whose
       label is in their category. An instance without a free pixel, or with more than `overlap_threshold` of these
       pixels already owned, is dropped.
    3. Foreground without an owner goes to the geodesically nearest owner of its category, along pixels of that
       category; of two owners at the same distance, to the one with the higher score.
    4. Connected components of one label that no owner reaches become instances of their own ("found") if they are
       large enough, else void in the panoptic map. If several things share a semantic id nothing is found, since the
       label does not identify the thing.
    5. A stuff class is one segment if it is large enough, else void.
    6. The refined semantic map has the owner's class on owned pixels and the given label elsewhere.

    Args:
        labels: (H, W) integer semantic ids, or the table's ignore label for pixels without one.
        masks: N masks; they may overlap.
        thing_ids: (N,) int64 thing ids.
        scores: (N,).
        table: the classes; their categories define which classes may exchange pixels.
        options: thresholds.

    Raises:
        ValueError: see `check_inputs`.
    """
    check_shapes(labels, masks, thing_ids, scores)
    rules = make_rules(options, table, labels.numel())
    if labels.device.type == "cpu":
        check_labels(labels, table)
        candidates = select_candidates(thing_ids.tolist(), scores.tolist(), table, rules)
        fused = fuse_compiled(labels, masks[candidates.order], candidates.semantic_ids, rules)
    else:
        candidates, fused = fuse_tensors(labels, masks, thing_ids, scores, table, rules)
    return collect_result(fused, candidates, masks, thing_ids, scores, table)


def make_rules(options: SemanticGuidedOptions, table: ClassTable, num_pixels: int) -> Rules:
    label_identifies_thing = len(set(table.thing_to_semantic.tolist())) == table.num_things
    return Rules(
        region_of=(table.category_of + 1) * table.is_thing,
        ignore_label=table.ignore_label,
        score_threshold=options.score_threshold,
        overlap_threshold=options.overlap_threshold,
        min_segment_area=options.min_segment_area * num_pixels if label_identifies_thing else math.inf,
        min_stuff_area=options.min_stuff_area * num_pixels,
        connectivity=options.connectivity,
    )


def collect_result(
    fused: FusedPixels, candidates: Candidates, masks: BoxMasks, thing_ids: Tensor, scores: Tensor, table: ClassTable
) -> SemanticGuidedResult:
    """Return all instances, those that take no part included, and the segments."""
    device = fused.ids.device
    given, num_found = len(masks), len(fused.found)
    kept = [candidates.order[position] for position in fused.kept]
    found_things = table.semantic_to_thing[fused.found]
    things = [*candidates.thing_ids, *found_things.tolist()]
    all_scores = [*candidates.scores, *[0.0] * num_found]
    segment_instances = [*kept, *range(given, given + num_found)]
    segments: SegmentsInfo = [
        {"id": i, "isthing": True, "category_id": things[index], "area": area, "score": all_scores[index]}
        | {"instance_id": index}
        for i, (index, area) in enumerate(zip(segment_instances, fused.areas), start=1)
    ]
    for semantic_id, area in fused.stuff:
        segments.append({"id": len(segments) + 1, "isthing": False, "category_id": semantic_id, "area": area})

    # The refined masks, which follow the given ones, in place of those of the kept instances.
    sources = np.arange(given + num_found)
    sources[segment_instances] = given + np.arange(len(segment_instances))
    is_kept = np.isin(np.arange(len(sources)), segment_instances)
    if num_found:
        thing_ids = torch.cat([thing_ids, upload(found_things.astype(np.int64), device)])
        scores = F.pad(scores, (0, num_found))
    return SemanticGuidedResult(
        panoptic=PanopticMap(fused.ids, segments),
        labels=fused.labels,
        masks=BoxMasks.cat([masks, fused.masks])[sources],
        thing_ids=thing_ids,
        scores=scores,
        kept=upload(is_kept, device),
        found=upload(np.arange(len(sources)) >= given, device),
    )
