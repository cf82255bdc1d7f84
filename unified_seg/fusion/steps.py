"""What the two implementations of the semantic-guided fusion's steps share: their rules, result and numbering.

`compiled_steps` runs on the CPU, `tensor_steps` on any device; both give the same maps, pixel for pixel.
`semantic_guided` checks the inputs and describes the result.

(H, W) = the image, K = semantic ids, M = instances of the result: the kept candidates, then the found ones.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from unified_seg.fusion.input_checks import check_values
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable


@dataclass(frozen=True)
class Rules:
    """Thresholds in pixels and the regions in which instances may grow.

    Attributes:
        region_of: (K,) int: the region of each semantic id, from 1; 0 for stuff. A region is a category of things.
        ignore_label: the value of void pixels in the semantic map.
        score_threshold, overlap_threshold: see `SemanticGuidedOptions`.
        min_segment_area: pixels; infinite if nothing may be found.
        min_stuff_area: pixels.
        connectivity: 4 or 8.
    """

    region_of: np.ndarray
    ignore_label: int
    score_threshold: float
    overlap_threshold: float
    min_segment_area: float
    min_stuff_area: float
    connectivity: int


@dataclass(frozen=True)
class Candidates:
    """The instances that take part in the fusion, of the N given ones.

    Attributes:
        thing_ids, scores, semantic_of: N values: thing id, score and semantic id of each given instance.
        order: the indices of the candidates, by falling score.
    """

    thing_ids: list[int]
    scores: list[float]
    semantic_of: list[int]
    order: list[int]

    @property
    def semantic_ids(self) -> list[int]:
        """The semantic ids of the candidates."""
        return [self.semantic_of[index] for index in self.order]


def select_candidates(thing_ids: list[int], scores: list[float], table: ClassTable, rules: "Rules") -> Candidates:
    """Check N thing ids and scores, and select the instances whose score is high enough.

    Raises:
        ValueError: a score is not finite, or a thing id is not in the table.
    """
    check_values(thing_ids, scores, table)
    # A stable sort: of equal scores the lower index comes first.
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    order = [index for index in order if scores[index] >= rules.score_threshold]
    return Candidates(thing_ids, scores, table.thing_to_semantic[thing_ids].tolist(), order)


@dataclass(frozen=True)
class Claims:
    """The candidates that own pixels before regions grow.

    Attributes:
        kept: their indices, in the order of their numbers.
        areas: the pixels of each.
    """

    kept: list[int]
    areas: list[int]


@dataclass(frozen=True)
class FusedPixels:
    """The fused maps, and their segments.

    Attributes:
        ids: (H, W) int32: instances 1 .. M, then stuff in the order of `stuff`; 0 = void.
        labels: (H, W), the refined semantic map.
        kept: the candidates that are instances, in order of their ids.
        found: the semantic id of each found instance, in order of their ids, which follow those of `kept`.
        areas: of the M instances, pixels.
        masks: of the M instances, in tight windows.
        stuff: (semantic id, area) of each stuff segment.
    """

    ids: Tensor
    labels: Tensor
    kept: list[int]
    found: list[int]
    areas: list[int]
    masks: BoxMasks
    stuff: list[tuple[int, int]]


def select_stuff(label_areas: list[int], is_thing: np.ndarray, min_area: float) -> list[tuple[int, int]]:
    """Return (semantic id, area) of the stuff that is large enough for a segment, from the area of each semantic id."""
    areas = enumerate(label_areas)
    return [(k, area) for k, area in areas if area and not is_thing[k] and area >= min_area]


def number_stuff(stuff: list[tuple[int, int]], num_instances: int, rules: Rules) -> np.ndarray:
    """Return (K + 1,) int64, the segment id of each stuff label; 0 for void labels and, last, for the ignore label."""
    stuff_ids = np.zeros(len(rules.region_of) + 1, dtype=np.int64)
    for number, (semantic_id, _) in enumerate(stuff, start=num_instances + 1):
        stuff_ids[semantic_id] = number
    return stuff_ids
