"""Panoptic quality of segment maps in memory.

(H, W) = an image, C = classes. Source: Kirillov et al., Panoptic Segmentation, section 4, by the rules of panopticapi.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unified_seg.ops.id_maps import UnknownIdsError, count_pairs

VOID = 0  # the segment id of pixels without a segment


class Segment(NamedTuple):
    """A segment of a map.

    Attributes:
        id: its value in the map, not 0.
        cls: the index of its class, 0 .. C-1.
        is_crowd: of the ground truth: a group of objects that nobody has told apart.
    """

    id: int
    cls: int
    is_crowd: bool = False


@dataclass(frozen=True)
class PanopticMatches:
    """What is counted of each class; of several images, the sum.

    Attributes:
        iou: (C,) float64, the sum of intersection over union over the matched pairs.
        tp: (C,) int64, matched pairs.
        fp: (C,) int64, predicted segments without a match.
        fn: (C,) int64, true segments without a match.
    """

    iou: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray

    def __add__(self, other: "PanopticMatches") -> "PanopticMatches":
        return PanopticMatches(self.iou + other.iou, self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


class Quality(NamedTuple):
    """Panoptic, segmentation and recognition quality as fractions, 0 to 1; all NaN where no segment is."""

    pq: float
    sq: float
    rq: float


@dataclass(frozen=True)
class PanopticScores:
    """Attributes: the means over all classes that occur, over things, over stuff; and of each class."""

    all: Quality
    things: Quality
    stuff: Quality
    per_class: list[Quality]


def match_segments(
    true_ids: np.ndarray,
    true_segments: Sequence[Segment],
    predicted_ids: np.ndarray,
    predicted_segments: Sequence[Segment],
    num_classes: int,
) -> PanopticMatches:
    """Match the segments of one image.

    A true and a predicted segment match where their classes are the same and their intersection over union is above
    1/2; void pixels of the ground truth belong to no union. Crowds are not matched and not missed. A predicted segment
    without a match is no error where more than half of it lies on void and on crowds of its class.

    panopticapi keeps one crowd segment of a class, the last; here all of them count, as the rule says. Areas are
    counted from the maps.

    Args:
        true_ids: (H, W), any integer type, 0 = void.
        true_segments: one for each id of the map but 0.
        predicted_ids: (H, W), likewise.
        predicted_segments: likewise; none is a crowd.
        num_classes: C.

    Raises:
        ValueError: maps of different sizes, a segment that is described twice or without pixels, or pixels of a
            segment that is not described; the message says of which map and which segment.
    """
    overlap = _overlaps(true_ids, true_segments, predicted_ids, predicted_segments)
    true_classes, crowd = (np.array([s[i] for s in true_segments], dtype=np.int64) for i in (1, 2))
    predicted_classes = np.array([s.cls for s in predicted_segments], dtype=np.int64)
    same_class = np.equal.outer(true_classes, predicted_classes)
    common, on_void = overlap[1:, 1:], overlap[0, 1:]
    predicted_areas = overlap[:, 1:].sum(axis=0)
    union = overlap[1:].sum(axis=1)[:, None] + predicted_areas - common - on_void
    iou = common / union  # a described segment has pixels, so a union is never empty
    matched = same_class & (iou > 0.5) & (crowd == 0)[:, None]

    missed = ~matched.any(axis=1) & (crowd == 0)
    excused = on_void + np.where(same_class & (crowd == 1)[:, None], common, 0).sum(axis=0)
    wrong = ~matched.any(axis=0) & (excused / predicted_areas <= 0.5)
    of_pair = np.nonzero(matched)
    return PanopticMatches(
        iou=np.bincount(true_classes[of_pair[0]], weights=iou[of_pair], minlength=num_classes),
        tp=np.bincount(true_classes[of_pair[0]], minlength=num_classes),
        fp=np.bincount(predicted_classes[wrong], minlength=num_classes),
        fn=np.bincount(true_classes[missed], minlength=num_classes),
    )


def compute_panoptic_scores(matches: PanopticMatches, is_thing: np.ndarray) -> PanopticScores:
    """The scores of matches.

    A class without any segment, true or predicted, has NaN and enters no mean; a mean over no class is NaN.

    Args:
        matches: summed over the images.
        is_thing: (C,) bool.
    """
    occurs = matches.tp + matches.fp + matches.fn > 0
    segments = matches.tp + (matches.fp + matches.fn) / 2
    qualities = np.full((len(occurs), 3), np.nan)
    qualities[occurs, 0] = matches.iou[occurs] / segments[occurs]
    qualities[occurs, 1] = matches.iou[occurs] / np.maximum(matches.tp[occurs], 1)  # 0 where nothing matched
    qualities[occurs, 2] = matches.tp[occurs] / segments[occurs]

    def mean(group: np.ndarray) -> Quality:
        of_group = qualities[occurs & group]
        return Quality(*of_group.mean(axis=0).tolist()) if len(of_group) else Quality(np.nan, np.nan, np.nan)

    return PanopticScores(
        all=mean(np.ones_like(occurs)),
        things=mean(is_thing),
        stuff=mean(~is_thing),
        per_class=[Quality(*row) for row in qualities.tolist()],
    )


def _overlaps(
    true_ids: np.ndarray,
    true_segments: Sequence[Segment],
    predicted_ids: np.ndarray,
    predicted_segments: Sequence[Segment],
) -> np.ndarray:
    """(1 + T, 1 + P) int64 pixels of each pair of a true and a predicted segment; index 0 is void."""
    ids = []
    for what, segments in (("true", true_segments), ("predicted", predicted_segments)):
        ids.append([VOID, *(s.id for s in segments)])
        if twice := sorted(i for i, times in Counter(ids[-1]).items() if times > 1):
            raise ValueError(f"{what} segments described twice (0 is void): {twice}")
    try:
        overlap = count_pairs(true_ids, predicted_ids, *ids)
    except UnknownIdsError as error:
        what = "true" if error.in_first else "predicted"
        raise ValueError(f"the {what} map holds the segments {error.ids}, which are not described") from None
    for axis, what in enumerate(("true", "predicted")):
        empty = [i for i, area in zip(ids[axis], overlap.sum(axis=1 - axis)) if area == 0 and i != VOID]
        if empty:
            raise ValueError(f"{what} segments are described but have no pixel: {sorted(empty)}")
    return overlap
