"""Kinds of errors of predicted segments, and what they cost in panoptic quality.

The idea is that of Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors (2020), for segments:
each false negative and each false positive of an image has one kind.

C = classes, K = kinds, G = segments of the ground truth, P = predicted segments.
"""

from typing import NamedTuple

import numpy as np

from unified_seg.ops.metrics.panoptic_quality import PanopticMatches, SegmentPairs

#: In this order a segment gets the first kind that fits.
WRONG_CLASS, MERGED, SPLIT, INEXACT, MISSED, MISTAKE = KINDS = (
    "wrong class",
    "merged",
    "split",
    "inexact",
    "missed",
    "by mistake",
)
# Segments with a smaller intersection over union have nothing to do with each other, as in TIDE.
_RELATED_IOU = 0.1


class SegmentError(NamedTuple):
    """An error of an image.

    Attributes:
        kind: one of KINDS.
        missed: indices of the false negatives (ground truth) that it explains.
        wrong: indices of the false positives (predictions) that it explains.
        cause: index of the predicted segment to which the missed ones belong; None for `MISSED` and `SPLIT`.
    """

    kind: str
    missed: tuple[int, ...]
    wrong: tuple[int, ...]
    cause: int | None = None


def find_segment_errors(pairs: SegmentPairs) -> list[SegmentError]:
    """Return the errors of an image, in the order of KINDS.

    - wrong class: a predicted segment of another class has an intersection over union above 1/2;
    - merged: one predicted segment of the class covers more than half of this segment and of another one of the class;
    - split: two or more predicted segments of the class have more than half of their area in this segment;
    - inexact: a predicted segment of the class has an intersection over union of 0.1 to 0.5;
    - missed: a segment without any of these; by mistake: a predicted segment that belongs to none of these.

    Each false negative and each false positive of the pairs is in exactly one error.
    """
    missed, wrong = pairs.missed.copy(), pairs.wrong.copy()
    same_class = pairs.same_class
    errors: list[SegmentError] = []

    def take(kind: str, gt: list[int], predicted: list[int], cause: int | None = None) -> None:
        explained = tuple(p for p in predicted if wrong[p])
        missed[gt], wrong[predicted] = False, False
        errors.append(SegmentError(kind, tuple(gt), explained, cause))

    for g, p in _sort_pairs(pairs.iou, ~same_class & (pairs.iou > 0.5)):
        if missed[g] and wrong[p]:
            take(WRONG_CLASS, [g], [p], p)
    covered = same_class & (2 * pairs.common > pairs.gt_areas[:, None])
    for p in np.flatnonzero(covered.sum(axis=0) > 1).tolist():
        if swallowed := np.flatnonzero(covered[:, p] & missed).tolist():
            take(MERGED, swallowed, [p], p)
    inside = same_class & (2 * pairs.common > pairs.predicted_areas)
    for g in np.flatnonzero(missed & (inside.sum(axis=1) > 1)).tolist():
        take(SPLIT, [g], np.flatnonzero(inside[g]).tolist())
    for g, p in _sort_pairs(pairs.iou, same_class & (pairs.iou >= _RELATED_IOU)):
        if missed[g] and wrong[p]:
            take(INEXACT, [g], [p], p)
    for g in np.flatnonzero(missed).tolist():
        take(MISSED, [g], [])
    for p in np.flatnonzero(wrong).tolist():
        take(MISTAKE, [], [p], p)
    return errors


def _sort_pairs(iou: np.ndarray, chosen: np.ndarray) -> list[list[int]]:
    """Return the chosen pairs [ground truth, predicted], highest intersection over union first."""
    found = np.argwhere(chosen)
    return found[np.argsort(-iou[chosen], kind="stable")].tolist()


def count_segment_errors(errors: list[SegmentError], pairs: SegmentPairs, num_classes: int) -> np.ndarray:
    """Count false negatives and false positives by kind and class: (K, 2, C) int64."""
    counts = np.zeros((len(KINDS), 2, num_classes), dtype=np.int64)
    for error in errors:
        of_kind = counts[KINDS.index(error.kind)]
        np.add.at(of_kind[0], pairs.gt_classes[list(error.missed)], 1)
        np.add.at(of_kind[1], pairs.predicted_classes[list(error.wrong)], 1)
    return counts


def compute_lost_quality(counts: np.ndarray, matches: PanopticMatches) -> np.ndarray:
    """Compute the points of PQ that a data set would gain without the errors of each kind alone.

    Args:
        counts: (K, 2, C), the sum over the images, see `count_segment_errors`.
        matches: the sum over the images.

    Returns:
        (K + 1,) float64; the last is what matches would gain with exact outlines. NaN without any segment.
    """
    missed, wrong = matches.fn - counts[:, 0], matches.fp - counts[:, 1]
    after = [_mean_quality(matches.iou, matches.tp, fp, fn, matches) for fn, fp in zip(missed, wrong)]
    after.append(_mean_quality(matches.tp, matches.tp, matches.fp, matches.fn, matches))
    return 100 * (np.array(after) - _mean_quality(matches.iou, matches.tp, matches.fp, matches.fn, matches))


def _mean_quality(iou: np.ndarray, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, matches: PanopticMatches) -> float:
    """Return the mean PQ in [0, 1] over the classes that occur; one that has lost all its segments counts as 0."""
    occurs = matches.tp + matches.fp + matches.fn > 0
    if not occurs.any():
        return float("nan")
    segments = tp + (fp + fn) / 2
    return float((iou / np.maximum(segments, 0.5))[occurs].mean())
