"""How well a score of every pixel finds the pixels that a semantic map has wrong.

Source: the paper on erroneous pixel prediction, 5.2.1 (Tables 1 and 4): a pixel counts as found where its score is
above a threshold. An error of which the map was sure is a hard one.

T = thresholds; (H, W) = an image.
"""

from typing import NamedTuple

import numpy as np

#: 0.01, 0.02 ... 0.99
THRESHOLDS = np.arange(1, 100) / 100
#: The rows of the counts.
CORRECT, EASY, HARD = range(3)


class ErrorScores(NamedTuple):
    """Shares, 0 to 1; NaN where there is nothing to take a share of.

    Attributes:
        error_rate: of the pixels, the wrong ones.
        hard_ratio: of the wrong pixels, the hard ones.
        iou: (T,) of the class "wrong": wrong pixels found / pixels wrong or found.
        precision: (T,) of the pixels found, the wrong ones.
        recall: (T,) of the wrong pixels, those found.
        hard_recall: (T,) of the hard ones, those found.
    """

    error_rate: float
    hard_ratio: float
    iou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    hard_recall: np.ndarray


def count_by_score(
    scores: np.ndarray, errors: np.ndarray, hard: np.ndarray, valid: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> np.ndarray:
    """Count an image's pixels by their kind and the thresholds that they are above; of several images, add the counts.

    Args:
        scores: (H, W) floating point, 0 to 1, high where a pixel is thought to be wrong.
        errors: (H, W) bool, wrong pixels.
        hard: (H, W) bool, pixels that are hard if they are wrong.
        valid: (H, W) bool, pixels that count.
        thresholds: (T,) increasing; compared in the type of `scores`, so that a score that was set to one is not above
            it.

    Returns:
        (3, T + 1) int64: rows CORRECT, EASY and HARD; column i has the pixels that are above i of the thresholds.

    Raises:
        ValueError: maps of different sizes, or a score that is no number from 0 to 1.
    """
    if shapes := {each.shape for each in (errors, hard, valid)} - {scores.shape}:
        raise ValueError(f"scores of shape {scores.shape}, but errors, hard and valid pixels of {sorted(shapes)}")
    counted = scores[valid]
    if not ((counted >= 0) & (counted <= 1)).all():
        raise ValueError("a score of a pixel is not a number from 0 to 1")
    above = np.searchsorted(thresholds.astype(scores.dtype), counted)
    kind = np.where(errors[valid], np.where(hard[valid], HARD, EASY), CORRECT)
    columns = len(thresholds) + 1
    return np.bincount(kind * columns + above, minlength=3 * columns).reshape(3, columns)


def error_scores(counts: np.ndarray) -> ErrorScores:
    """The measures of counts (3, T + 1) of `count_by_score`, summed over the images to score together."""
    total = counts.sum(axis=1)
    # From the highest scores down: the pixels above the i-th threshold are those above more than i of them.
    found = np.cumsum(counts[:, :0:-1], axis=1)[:, ::-1]
    wrong, wrong_found = total[EASY] + total[HARD], found[EASY] + found[HARD]
    return ErrorScores(
        error_rate=float(_share(wrong, total.sum())),
        hard_ratio=float(_share(total[HARD], wrong)),
        iou=_share(wrong_found, wrong + found[CORRECT]),
        precision=_share(wrong_found, found.sum(axis=0)),
        recall=_share(wrong_found, wrong),
        hard_recall=_share(found[HARD], total[HARD]),
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
