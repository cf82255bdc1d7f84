"""From the results of a graph to the prediction for an image, by the functions that the library uses too.

K = classes, (h, w) = the logits, (H, W) = the image, M = instances.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from unified_seg_arrays.class_table import ClassTable
from unified_seg_arrays.fusion import evidence, semantic_guided
from unified_seg_arrays.fusion.evidence_weights import group_classes, weigh
from unified_seg_arrays.fusion.options import SemanticGuidedOptions, make_rules
from unified_seg_arrays.fusion.score_order import make_score_rules, merge_arrays
from unified_seg_arrays.fusion.steps import (
    Candidates,
    FusedArrays,
    WindowMasks,
    collect_instances,
    select_candidates,
)
from unified_seg_arrays.resampling import ArrayPositions, find_positions, read_labels, read_levels
from unified_seg_runtime.folder import Description, FolderError
from unified_seg_runtime.pasting import binarize, paste_levels
from unified_seg_runtime.results import Instances, Prediction

Size = tuple[int, int]
FUSIONS = ("", "ScoreOrderFusion", "SemanticGuidedFusion", "EvidenceFusion")


@dataclass(frozen=True)
class Logits:
    """Logits of an image, which are read at the pixels of the original image.

    Attributes:
        values: (K, h, w) float32.
        stride: input pixels per pixel of the logits.
        input_size: height and width of the input, without padding.
        output_size: (H, W).
    """

    values: np.ndarray
    stride: int
    input_size: Size
    output_size: Size

    def read_labels(self) -> np.ndarray:
        """Return the class with the largest logit, (H, W)."""
        return read_labels(self.values, *self._find_positions())

    def read_evidence(self, labels: np.ndarray, table: ClassTable) -> evidence.EvidenceMaps:
        """Return the labels with their confidence, and with that of their category."""
        groups = group_classes(table)
        members = (np.arange(groups.max() + 1)[:, None] == groups).astype(np.float32)
        exponents = np.exp(self.values - self.values.max(0))
        probabilities = exponents / exponents.sum(0)
        sums = (members @ probabilities.reshape(len(groups), -1)).reshape(-1, *probabilities.shape[1:])
        positions = self._find_positions()
        chosen = groups.astype(np.int16)[labels]
        return evidence.EvidenceMaps(
            labels, read_levels(probabilities, labels, *positions), read_levels(sums, chosen, *positions)
        )

    def find_cell(self) -> float:
        """Return the side of a cell of the logits in pixels of the image."""
        scale = self.output_size[0] * self.output_size[1] / (self.input_size[0] * self.input_size[1])
        return self.stride * math.sqrt(scale)

    def _find_positions(self) -> tuple[ArrayPositions, ArrayPositions]:
        rows, columns = (
            find_positions(length, seen, self.stride, cells)
            for length, seen, cells in zip(self.output_size, self.input_size, self.values.shape[1:])
        )
        return rows, columns


def finish(
    results: Mapping[str, np.ndarray],
    index: int,
    input_size: Size,
    output_size: Size,
    form: Description,
    table: ClassTable,
) -> Prediction:
    """Return the prediction for one image of a batch.

    Args:
        results: of the graph, by name.
        index: of the image.
        input_size: height and width of the input, without padding.
        output_size: (H, W).
        form: of the graph.
        table: its classes.

    Raises:
        FolderError: an unknown fusion.
    """
    labels = logits = instances = None
    if "logits" in results:
        logits = Logits(results["logits"][index], form.stride, input_size, output_size)
        labels = logits.read_labels()
    if "boxes" in results:
        instances = place_instances(results, index, input_size, output_size)
    if not form.fusion or logits is None or labels is None or instances is None:
        return Prediction(labels, instances)
    return fuse(logits, labels, instances, form, table)


def place_instances(results: Mapping[str, np.ndarray], index: int, input_size: Size, output_size: Size) -> Instances:
    """Bring the instances of an image to its size, without those with an empty box."""
    mine = results["image_index"] == index
    scales = [np.float32(new / old) for new, old in zip(output_size[::-1], input_size[::-1])]
    limit = np.array([*output_size[::-1]] * 2, dtype=np.float32)
    boxes = np.clip(results["boxes"][mine] * np.array(scales * 2, dtype=np.float32), 0, limit)
    sides = boxes[:, 2:] - boxes[:, :2]
    full = (sides > 0).all(axis=1)
    boxes, scores, classes = boxes[full], results["scores"][mine][full], results["classes"][mine][full]
    if "masks" not in results:
        return Instances(boxes, scores, classes)
    soft = results["masks"][mine][full]
    levels = paste_levels(soft, boxes, output_size)
    cells = np.sqrt(sides[full].prod(axis=1) / np.float32(max(soft.shape[1] * soft.shape[2], 1)))
    return Instances(boxes, scores, classes, binarize(levels), levels, cells)


def fuse(logits: Logits, labels: np.ndarray, instances: Instances, form: Description, table: ClassTable) -> Prediction:
    """Join labels and instances by the fusion of a description."""
    if form.fusion not in FUSIONS or instances.masks is None or instances.levels is None or instances.cells is None:
        raise FolderError(f"fusion: {form.fusion!r} is not one of {', '.join(FUSIONS[1:])} of a model with masks")
    things, scores = instances.classes.tolist(), instances.scores.tolist()
    if form.fusion == "ScoreOrderFusion":
        rules = make_score_rules(table, **form.fusion_options)
        candidates = select_candidates(things, scores, table, rules)
        merged = merge_arrays(labels, instances.masks, candidates, table, rules)
        return Prediction(labels, instances, merged.ids, merged.describe())
    rules = make_rules(SemanticGuidedOptions(**form.fusion_options), table, labels.size)
    candidates = select_candidates(things, scores, table, rules)
    if form.fusion == "SemanticGuidedFusion":
        chosen = instances.masks.select(candidates.order)
        fused = semantic_guided.fuse_compiled(labels, chosen, candidates.semantic_ids, rules)
    else:
        weights = weigh(instances.cells, candidates, logits.find_cell())
        maps, chosen = logits.read_evidence(labels, table), instances.levels.select(candidates.order)
        fused = evidence.fuse_compiled(maps, chosen, candidates.semantic_ids, weights, rules)
    refined = _refine(instances, instances.masks, fused, candidates, table)
    return replace(refined, unfused=Prediction(labels, instances))


def _refine(
    instances: Instances, masks: WindowMasks, fused: FusedArrays, candidates: Candidates, table: ClassTable
) -> Prediction:
    """Return the prediction with the refined instances; boxes stay the detector's, found ones have tight boxes."""
    collected = collect_instances(fused, candidates, table)
    found = len(fused.found)
    windows = fused.masks.windows[len(fused.kept) :].astype(instances.boxes.dtype)
    both = WindowMasks(np.concatenate([masks.windows, fused.masks.windows]), [*masks.planes, *fused.masks.planes])
    refined = replace(
        instances,
        boxes=np.concatenate([instances.boxes, windows]),
        scores=np.append(instances.scores, np.zeros(found, dtype=instances.scores.dtype)),
        classes=np.append(instances.classes, collected.thing_ids),
        masks=both.select(collected.sources.tolist()),
        levels=None,
        cells=None,
    )
    return Prediction(fused.labels, refined, fused.ids, collected.segments_info)
