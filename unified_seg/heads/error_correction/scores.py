"""Scores of error detection: how well a score of every pixel finds the errors of a semantic map.

Source: Gong et al., Erroneous pixel prediction for semantic image segmentation (2022), section 5.2.1 (Tables 1 and 4).
A pixel is found if its score exceeds a threshold. A hard error is one that the map predicts with high confidence.

T = thresholds; (H, W) = an image.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from unified_seg.evaluation.tables import format_cell, format_table

#: 0.01, 0.02 ... 0.99
THRESHOLDS = np.arange(1, 100) / 100
#: The rows of the counts.
CORRECT, EASY, HARD = range(3)


class ErrorScores(NamedTuple):
    """Shares, 0 to 1; NaN if the denominator is 0.

    Attributes:
        error_rate: errors / pixels.
        hard_ratio: hard errors / errors.
        iou: (T,) errors found / pixels that are errors or found.
        precision: (T,) errors found / pixels found.
        recall: (T,) errors found / errors.
        hard_recall: (T,) hard errors found / hard errors.
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
    """Count the pixels of an image by their kind and by the thresholds that their score exceeds.

    Counts of several images can be added.

    Args:
        scores: (H, W) floating point, 0 to 1, high for pixels that are likely to be wrong.
        errors: (H, W) bool, wrong pixels.
        hard: (H, W) bool, pixels that are hard if they are wrong.
        valid: (H, W) bool, pixels that count.
        thresholds: (T,) increasing; compared in the type of `scores`, so that a score equal to one does not exceed it.

    Returns:
        (3, T + 1) int64: rows CORRECT, EASY and HARD; column i has the pixels whose score exceeds i thresholds.

    Raises:
        ValueError: maps of different sizes, or a score that is not in [0, 1].
    """
    if shapes := {each.shape for each in (errors, hard, valid)} - {scores.shape}:
        raise ValueError(f"errors, hard and valid must have the shape of scores, {scores.shape}, got {sorted(shapes)}")
    counted = scores[valid]
    if not ((counted >= 0) & (counted <= 1)).all():
        raise ValueError("the scores of all pixels must be in [0, 1]")
    exceeded = np.searchsorted(thresholds.astype(scores.dtype), counted)
    kind = np.where(errors[valid], np.where(hard[valid], HARD, EASY), CORRECT)
    columns = len(thresholds) + 1
    return np.bincount(kind * columns + exceeded, minlength=3 * columns).reshape(3, columns)


def compute_scores(counts: np.ndarray) -> ErrorScores:
    """Compute the scores of counts (3, T + 1), see `count_by_score`, of all images together."""
    total = counts.sum(axis=1)
    # From the highest scores down: a score above the i-th threshold exceeds more than i of them.
    found = np.cumsum(counts[:, :0:-1], axis=1)[:, ::-1]
    wrong, wrong_found = total[EASY] + total[HARD], found[EASY] + found[HARD]
    return ErrorScores(
        error_rate=float(_divide(wrong, total.sum())),
        hard_ratio=float(_divide(total[HARD], wrong)),
        iou=_divide(wrong_found, wrong + found[CORRECT]),
        precision=_divide(wrong_found, found.sum(axis=0)),
        recall=_divide(wrong_found, wrong),
        hard_recall=_divide(found[HARD], total[HARD]),
    )


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def format_scores(scores: Mapping[str, float]) -> str:
    """Format the scores of the task "errors" as Table 1, beside those of a threshold on the base head's confidence.

    The rows are thresholds of the error probability, or of 1 - confidence: 0.1 to 0.9, the config's, and the best.
    """
    columns = {"errors: IoU": "IoU", "hard recall": "hard_recall"}
    columns |= {"1 - confidence: IoU": "confidence_IoU", "its hard recall": "confidence_hard_recall"}
    rows = []
    for threshold in [key.removeprefix("IoU-") for key in scores if key.startswith("IoU-")]:
        cells = (format_cell(scores[f"{metric}-{threshold}"]) for metric in columns.values())
        rows.append([f"{100 * float(threshold):g}", *cells])
    rows.append([f"set: {scores['threshold']:g}", *(format_cell(scores[metric]) for metric in columns.values())])
    for title, metric in (("best", "best_IoU"), ("best threshold", "best_threshold")):
        rows.append([title, format_cell(scores[metric]), "", format_cell(scores[f"confidence_{metric}"]), ""])
    wrong, hard = format_cell(scores["error_rate"]), format_cell(scores["hard_ratio"])
    return (
        f"errors found: {wrong} % of the pixels are wrong, {hard} % of these hard\n"
        f"{format_table(['threshold, %', *columns], rows)}"
    )
