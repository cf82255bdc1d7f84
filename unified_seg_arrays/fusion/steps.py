"""What the implementations of the fusions share: their rules, result and numbering.

Those of this package run on the CPU, those of `unified_seg.fusion` on any device; both give the same maps, pixel for
pixel.

(H, W) = the image, K = semantic ids, N = given instances, M = instances of the result: the kept candidates, then the
found ones.
"""

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from unified_seg_arrays.class_table import ClassTable

# Maps and masks are arrays here, and tensors in the library.
Map = TypeVar("Map")
Masks = TypeVar("Masks")
SegmentsInfo = list[dict[str, Any]]


@dataclass(frozen=True)
class WindowMasks:
    """Masks, each in its own window of an image.

    Attributes:
        windows: (M, 4) int64, x0, y0, x1, y1 in pixels, x1 and y1 exclusive, inside the image.
        planes: M arrays, the i-th of the size of its window: bool masks, or uint8 levels of soft masks.
    """

    windows: np.ndarray
    planes: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.planes)

    def select(self, indices: list[int]) -> "WindowMasks":
        """Return the masks of some indices."""
        return WindowMasks(self.windows[indices].reshape(-1, 4), [self.planes[index] for index in indices])


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
    if invalid := [score for score in scores if not math.isfinite(score)]:
        raise ValueError(f"scores must be finite, got {invalid}")
    if outside := sorted({i for i in thing_ids if not 0 <= i < table.num_things}):
        raise ValueError(f"thing_ids: {outside} are not in the class table, which has {table.num_things} things")
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
class FusedPixels(Generic[Map, Masks]):
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

    ids: Map
    labels: Map
    kept: list[int]
    found: list[int]
    areas: list[int]
    masks: Masks
    stuff: list[tuple[int, int]]


FusedArrays = FusedPixels[np.ndarray, WindowMasks]


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


@dataclass(frozen=True)
class FusedInstances:
    """All instances after a fusion that finds instances, and the segments.

    Attributes:
        segments_info: of the panoptic map, as Detectron2 describes segments.
        sources: (N + F,) int64: which mask each instance has, of N given masks followed by those of the result.
        thing_ids: of the F found instances.
        kept: (N + F,) bool: the instances that are segments.
    """

    segments_info: SegmentsInfo
    sources: np.ndarray
    thing_ids: np.ndarray
    kept: np.ndarray


def collect_instances(fused: FusedPixels[Any, Any], candidates: Candidates, table: ClassTable) -> FusedInstances:
    """Return all instances, those that take no part included, and the segments."""
    given, num_found = len(candidates.scores), len(fused.found)
    kept = [candidates.order[position] for position in fused.kept]
    found_things = table.semantic_to_thing[fused.found].astype(np.int64)
    things = [*candidates.thing_ids, *found_things.tolist()]
    all_scores = [*candidates.scores, *[0.0] * num_found]
    segment_instances = [*kept, *range(given, given + num_found)]
    segments = describe_things(segment_instances, fused.areas, things, all_scores)
    segments += describe_stuff(fused.stuff, len(segments))
    # The refined masks, which follow the given ones, in place of those of the kept instances.
    sources = np.arange(given + num_found)
    sources[segment_instances] = given + np.arange(len(segment_instances))
    return FusedInstances(segments, sources, found_things, np.isin(np.arange(len(sources)), segment_instances))


def describe_things(instances: list[int], areas: list[int], thing_ids: list[int], scores: list[float]) -> SegmentsInfo:
    """Return the segments of instances, with ids from 1 in their order.

    Args:
        instances: M indices into `thing_ids` and `scores`.
        areas: M.
        thing_ids, scores: of all instances.
    """
    return [
        {"id": number, "isthing": True, "category_id": thing_ids[index], "area": area}
        | {"score": scores[index], "instance_id": index}
        for number, (index, area) in enumerate(zip(instances, areas), start=1)
    ]


def describe_stuff(stuff: list[tuple[int, int]], num_things: int) -> SegmentsInfo:
    """Return the segments of (semantic id, area) of stuff, whose ids follow those of the things."""
    return [
        {"id": number, "isthing": False, "category_id": semantic_id, "area": area}
        for number, (semantic_id, area) in enumerate(stuff, start=num_things + 1)
    ]
