"""Panoptic quality of segment maps in memory.

Source: Kirillov et al., Panoptic Segmentation (2019), section 4, with the rules of panopticapi.

(H, W) = an image, C = classes, G = segments of the ground truth, P = predicted segments.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unified_seg.ops.id_maps import UnknownIdsError, count_pairs

MAP_NAMES = ("ground truth", "prediction")
VOID = 0  # the id of pixels without a segment


class Segment(NamedTuple):
    """A segment of a map.

    Attributes:
        id: its value in the map, not 0.
        cls: the index of its class, 0 .. C-1.
        is_crowd: whether it is a group of objects that are not labeled one by one, in the ground truth only.
    """

    id: int
    cls: int
    is_crowd: bool = False


@dataclass(frozen=True)
class PanopticMatches:
    """Counts of each class; those of several images can be added.

    Attributes:
        iou: (C,) float64, the sum of the intersection over union of matched pairs.
        tp: (C,) int64, true positives: matched pairs.
        fp: (C,) int64, false positives: predicted segments without a match.
        fn: (C,) int64, false negatives: segments of the ground truth without a match.
    """

    iou: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray

    def __add__(self, other: "PanopticMatches") -> "PanopticMatches":
        return PanopticMatches(self.iou + other.iou, self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


@dataclass(frozen=True)
class SegmentPairs:
    """The segments of an image, how much those of the ground truth and the predicted ones overlap, and which match.

    Attributes:
        gt_classes, predicted_classes: (G,) and (P,) int64, class indices.
        gt_areas, predicted_areas: (G,) and (P,) int64, pixels.
        common: (G, P) int64, pixels of the intersection.
        iou: (G, P) float64, intersection over union.
        matched: (G, P) bool; at most one in each row and column.
        missed: (G,) bool, the false negatives.
        wrong: (P,) bool, the false positives.
    """

    gt_classes: np.ndarray
    predicted_classes: np.ndarray
    gt_areas: np.ndarray
    predicted_areas: np.ndarray
    common: np.ndarray
    iou: np.ndarray
    matched: np.ndarray
    missed: np.ndarray
    wrong: np.ndarray

    @property
    def same_class(self) -> np.ndarray:
        """(G, P) bool."""
        return np.equal.outer(self.gt_classes, self.predicted_classes)

    def count(self, num_classes: int) -> PanopticMatches:
        """Count matches and errors by class."""
        matched_gt = self.gt_classes[np.nonzero(self.matched)[0]]
        return PanopticMatches(
            iou=np.bincount(matched_gt, weights=self.iou[self.matched], minlength=num_classes),
            tp=np.bincount(matched_gt, minlength=num_classes),
            fp=np.bincount(self.predicted_classes[self.wrong], minlength=num_classes),
            fn=np.bincount(self.gt_classes[self.missed], minlength=num_classes),
        )


class Quality(NamedTuple):
    """Panoptic, segmentation and recognition quality in [0, 1]; all NaN without any segment."""

    pq: float
    sq: float
    rq: float


@dataclass(frozen=True)
class PanopticScores:
    """Panoptic quality of a data set.

    Attributes:
        all, things, stuff: the means over the classes that occur.
        per_class: by class index; NaN for a class that does not occur.
    """

    all: Quality
    things: Quality
    stuff: Quality
    per_class: list[Quality]


def match_segments(
    gt_ids: np.ndarray,
    gt_segments: Sequence[Segment],
    predicted_ids: np.ndarray,
    predicted_segments: Sequence[Segment],
    num_classes: int,
) -> PanopticMatches:
    """Match the predicted segments of one image to the ground truth, and count matches and errors.

    Args:
        gt_ids, gt_segments, predicted_ids, predicted_segments: see `pair_segments`.
        num_classes: C.

    Raises:
        ValueError: see `pair_segments`.
    """
    return pair_segments(gt_ids, gt_segments, predicted_ids, predicted_segments).count(num_classes)


def pair_segments(
    gt_ids: np.ndarray,
    gt_segments: Sequence[Segment],
    predicted_ids: np.ndarray,
    predicted_segments: Sequence[Segment],
) -> SegmentPairs:
    """Match the predicted segments of one image to the ground truth.

    Two segments match if their classes are equal and their intersection over union is above 1/2; void pixels of the
    ground truth are left out of the union. Crowds neither match nor count as false negatives. A predicted segment
    without a match is no false positive if more than half of it lies on void and on crowds of its class.

    panopticapi uses only the last crowd segment of a class; here all of them count, as the rule demands. Areas are
    counted from the maps.

    Args:
        gt_ids: (H, W), any integer type, 0 = void.
        gt_segments: one for each id of the map except 0.
        predicted_ids: (H, W), any integer type, 0 = void.
        predicted_segments: one for each id of the map except 0, without crowds.

    Raises:
        ValueError: the maps differ in size, or the segments are not those of the map; the message names the map and
            the ids.
    """
    overlap = _count_overlaps(gt_ids, gt_segments, predicted_ids, predicted_segments)
    gt_classes, crowd = (np.array([s[i] for s in gt_segments], dtype=np.int64) for i in (1, 2))
    predicted_classes = np.array([s.cls for s in predicted_segments], dtype=np.int64)
    same_class = np.equal.outer(gt_classes, predicted_classes)
    common, on_void = overlap[1:, 1:], overlap[0, 1:]
    gt_areas, predicted_areas = overlap[1:].sum(axis=1), overlap[:, 1:].sum(axis=0)
    union = gt_areas[:, None] + predicted_areas - common - on_void
    iou = common / union  # every segment has pixels, so no union is empty
    matched = same_class & (iou > 0.5) & (crowd == 0)[:, None]
    ignored_area = on_void + np.where(same_class & (crowd == 1)[:, None], common, 0).sum(axis=0)
    return SegmentPairs(
        gt_classes=gt_classes,
        predicted_classes=predicted_classes,
        gt_areas=gt_areas,
        predicted_areas=predicted_areas,
        common=common,
        iou=iou,
        matched=matched,
        missed=~matched.any(axis=1) & (crowd == 0),
        wrong=~matched.any(axis=0) & (ignored_area / predicted_areas <= 0.5),
    )


def compute_panoptic_scores(matches: PanopticMatches, is_thing: np.ndarray) -> PanopticScores:
    """Compute panoptic quality from matches.

    A class without any segment, in ground truth or prediction, is NaN and left out of means; a mean over no class is
    NaN.

    Args:
        matches: the sum over the images.
        is_thing: (C,) bool.
    """
    occurs = matches.tp + matches.fp + matches.fn > 0
    segments = matches.tp + (matches.fp + matches.fn) / 2
    qualities = np.full((len(occurs), 3), np.nan)
    qualities[occurs, 0] = matches.iou[occurs] / segments[occurs]
    qualities[occurs, 1] = matches.iou[occurs] / np.maximum(matches.tp[occurs], 1)  # 0 without a match
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


def _count_overlaps(
    gt_ids: np.ndarray,
    gt_segments: Sequence[Segment],
    predicted_ids: np.ndarray,
    predicted_segments: Sequence[Segment],
) -> np.ndarray:
    """Count the pixels of each pair of segments: (1 + ground truth, 1 + predicted) int64; index 0 is void."""
    ids = []
    for name, segments in zip(MAP_NAMES, (gt_segments, predicted_segments)):
        ids.append([VOID, *(s.id for s in segments)])
        if duplicates := sorted(i for i, times in Counter(ids[-1]).items() if times > 1):
            raise ValueError(f"{name}: segment ids must be unique and not {VOID} (void), got several {duplicates}")
    try:
        overlap = count_pairs(gt_ids, predicted_ids, *ids)
    except UnknownIdsError as error:
        name = MAP_NAMES[0 if error.in_first else 1]
        raise ValueError(f"{name}: ids {error.ids} of the map have no segment description") from None
    for axis, name in enumerate(MAP_NAMES):
        empty = [i for i, area in zip(ids[axis], overlap.sum(axis=1 - axis)) if area == 0 and i != VOID]
        if empty:
            raise ValueError(f"{name}: segments {sorted(empty)} have no pixel in the map")
    return overlap
