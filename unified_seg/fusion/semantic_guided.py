"""Semantic-guided fusion of a semantic map and instances.

Source: Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation (2018), section IV. The paper gives no
numbers; the default options are this project's.

(H, W) = the image, N = given instances, F = instances found by the semantic map alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.fusion.array_masks import FusedTensors, to_arrays, to_tensors
from unified_seg.fusion.input_checks import check_labels, check_shapes
from unified_seg.fusion.tensor_steps import fuse_tensors
from unified_seg.ops.devices import upload
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.panoptic_map import PanopticMap
from unified_seg_arrays.fusion.options import SemanticGuidedOptions, make_rules
from unified_seg_arrays.fusion.semantic_guided import fuse_compiled
from unified_seg_arrays.fusion.steps import Candidates, collect_instances, select_candidates


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
    options: SemanticGuidedOptions | None = None,
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
        options: thresholds; by default those of `SemanticGuidedOptions`.

    Raises:
        ValueError: see `input_checks`.
    """
    check_shapes(labels, masks, thing_ids, scores)
    rules = make_rules(options or SemanticGuidedOptions(), table, labels.numel())
    if labels.device.type == "cpu":
        check_labels(labels, table)
        candidates = select_candidates(thing_ids.tolist(), scores.tolist(), table, rules)
        chosen = to_arrays(masks[candidates.order])
        fused = to_tensors(fuse_compiled(labels.contiguous().numpy(), chosen, candidates.semantic_ids, rules))
    else:
        candidates, fused = fuse_tensors(labels, masks, thing_ids, scores, table, rules)
    return collect_result(fused, candidates, masks, thing_ids, scores, table)


def collect_result(
    fused: FusedTensors, candidates: Candidates, masks: BoxMasks, thing_ids: Tensor, scores: Tensor, table: ClassTable
) -> SemanticGuidedResult:
    """Return all instances, those that take no part included, and the segments."""
    device = fused.ids.device
    collected = collect_instances(fused, candidates, table)
    if num_found := len(fused.found):
        thing_ids = torch.cat([thing_ids, upload(collected.thing_ids, device)])
        scores = F.pad(scores, (0, num_found))
    return SemanticGuidedResult(
        panoptic=PanopticMap(fused.ids, collected.segments_info),
        labels=fused.labels,
        masks=BoxMasks.cat([masks, fused.masks])[collected.sources],
        thing_ids=thing_ids,
        scores=scores,
        kept=upload(collected.kept, device),
        found=upload(np.arange(len(collected.sources)) >= len(masks), device),
    )
