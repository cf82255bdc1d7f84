"""The steps of `unified_seg.fusion.score_order` in numpy.

(H, W) = the image, N = instances.
"""

import math
from typing import Generic, NamedTuple

import numpy as np

from unified_seg_arrays.class_table import ClassTable
from unified_seg_arrays.fusion.steps import (
    Candidates,
    Claims,
    Map,
    Rules,
    SegmentsInfo,
    WindowMasks,
    describe_stuff,
    describe_things,
    select_stuff,
)


class Merged(NamedTuple, Generic[Map]):
    """The merged map: instances 1, 2, ... in the order of their scores, then stuff.

    Attributes:
        ids: (H, W) int32; 0 = void.
        candidates: the instances whose score is high enough.
        claims: those of them that are segments.
        stuff: (semantic id, area) of each stuff segment.
    """

    ids: Map
    candidates: Candidates
    claims: Claims
    stuff: list[tuple[int, int]]

    def describe(self) -> SegmentsInfo:
        """Return the segments, as Detectron2 describes them."""
        kept = [self.candidates.order[position] for position in self.claims.kept]
        things = describe_things(kept, self.claims.areas, self.candidates.thing_ids, self.candidates.scores)
        return things + describe_stuff(self.stuff, len(things))


def make_score_rules(
    table: ClassTable, score_threshold: float, overlap_threshold: float, stuff_area_limit: int
) -> Rules:
    """Return the rules of the merge by score, with a single region: an instance may own pixels of any label."""
    return Rules(
        region_of=np.ones(table.num_semantic, dtype=np.int64),
        ignore_label=table.ignore_label,
        score_threshold=score_threshold,
        overlap_threshold=overlap_threshold,
        min_segment_area=math.inf,
        min_stuff_area=stuff_area_limit,
        connectivity=4,
    )


def merge_arrays(
    labels: np.ndarray, masks: WindowMasks, candidates: Candidates, table: ClassTable, rules: Rules
) -> Merged[np.ndarray]:
    """Merge one instance after the other, then stuff.

    Args:
        labels: (H, W) integer semantic ids, or the ignore label.
        masks: N bool masks, of all given instances.
        candidates: those of them that take part.
        table: the classes.
        rules: thresholds.
    """
    ids = np.zeros(labels.shape, dtype=np.int32)
    claims = Claims([], [])
    chosen = masks.select(candidates.order)
    for position, ((x0, y0, x1, y1), mask) in enumerate(zip(chosen.windows.tolist(), chosen.planes)):
        window = ids[y0:y1, x0:x1]
        area = int(np.count_nonzero(mask))
        free = mask & (window == 0)
        free_area = int(np.count_nonzero(free))
        if free_area == 0 or (area - free_area) / area > rules.overlap_threshold:
            continue
        claims.kept.append(position)
        claims.areas.append(free_area)
        window[free] = len(claims.kept)
    free = ids == 0
    left = labels[free]
    areas = np.bincount(left[left != table.ignore_label], minlength=table.num_semantic).tolist()
    stuff = select_stuff(areas, table.is_thing, rules.min_stuff_area)
    for number, (semantic_id, _) in enumerate(stuff, len(claims.kept) + 1):
        ids[free & (labels == semantic_id)] = number
    return Merged(ids, candidates, claims, stuff)
