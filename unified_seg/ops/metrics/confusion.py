"""The confusion matrix of semantic segmentation, and its scores.

K = classes. In a confusion matrix rows are the ground truth and columns the prediction.
"""

import math
from dataclasses import dataclass

import numpy as np

from unified_seg_arrays.compiled import compiled


@dataclass(frozen=True)
class SemanticScores:
    """Scores of semantic segmentation as fractions in [0, 1].

    Attributes:
        iou: (K,) intersection over union; NaN for a class that is neither in the ground truth nor predicted.
        accuracy: (K,) fraction of the pixels of a class that are predicted correctly; NaN for a class that is not in
            the ground truth.
        mean_iou: the mean of `iou`, without NaN.
        frequency_weighted_iou: `iou` weighted by the fraction of pixels of each class in the ground truth.
        mean_accuracy: the mean of `accuracy`, without NaN.
        pixel_accuracy: fraction of all pixels that are predicted correctly.
    """

    iou: np.ndarray
    accuracy: np.ndarray
    mean_iou: float
    frequency_weighted_iou: float
    mean_accuracy: float
    pixel_accuracy: float


def confusion_matrix(
    ground_truth: np.ndarray, prediction: np.ndarray, num_classes: int, ignore_label: int
) -> np.ndarray:
    """Count the pixels of every pair (ground-truth class, predicted class).

    Args:
        ground_truth: any shape, any integer type: 0 .. K-1, or `ignore_label` for pixels that do not count.
        prediction: the same shape, any integer type: 0 .. K-1, also at ignored pixels.
        num_classes: K.
        ignore_label: outside 0 .. K-1.

    Returns:
        (K, K) int64; its sum is the number of pixels whose ground truth is not `ignore_label`.

    Raises:
        ValueError: the shapes differ, or an id is not a class. Ids out of range are never clipped or dropped, since
            they show that the labels use another convention, for which every score would be wrong.
    """
    if ground_truth.shape != prediction.shape:
        raise ValueError(
            f"ground truth and prediction must have one shape, got {ground_truth.shape} and {prediction.shape}"
        )
    target, predicted = (np.ascontiguousarray(ids).reshape(-1) for ids in (ground_truth, prediction))
    counts = np.zeros((4, num_classes + 1, num_classes), dtype=np.int64)
    if not _count_classes(target, predicted, ignore_label, counts):
        for what, ids, known in (
            ("prediction", predicted, range(num_classes)),
            ("ground truth", target, [*range(num_classes), ignore_label]),
        ):
            if outside := np.setdiff1d(ids, known).tolist():
                raise ValueError(f"the {what} contains ids {outside}, but the classes are 0 .. {num_classes - 1}")
    return counts.sum(axis=0)[:num_classes]


@compiled
def _count_classes(ground_truth: np.ndarray, prediction: np.ndarray, ignore_label: int, counts: np.ndarray) -> bool:
    """Add the pixels of flat maps to `counts` (4, K + 1, K), row K for ignored ones; return False at an invalid id."""
    num_classes = counts.shape[2]
    for i in range(len(ground_truth)):
        target, predicted = np.int64(ground_truth[i]), np.int64(prediction[i])
        if target == ignore_label:
            target = num_classes
        elif target < 0 or target >= num_classes:
            return False
        if predicted < 0 or predicted >= num_classes:
            return False
        # Four counts in turn: neighbors mostly are one pair, and adding to one number twice in a row stalls the CPU.
        counts[i & 3, target, predicted] += 1
    return True


def merge_categories(confusion: np.ndarray, category_of: np.ndarray) -> np.ndarray:
    """Merge the confusion matrix of classes into that of their categories.

    A class predicted as another class of its category counts as correct, so `compute_semantic_scores` of the result
    gives Cityscapes' scores of categories (evalPixelLevelSemanticLabeling, getIouScoreForCategory).

    Args:
        confusion: (K, K) int64.
        category_of: (K,) the category of each class, 0 .. C-1 without gaps.

    Returns:
        (C, C) int64, with the sum of `confusion`.
    """
    members = np.equal.outer(np.arange(category_of.max() + 1), category_of).astype(np.int64)
    return members @ confusion @ members.T


def compute_semantic_scores(confusion: np.ndarray) -> SemanticScores:
    """Compute the scores of a confusion matrix.

    The mean IoU is over the classes that occur in the ground truth or in the prediction (at pixels that count), so a
    class that is predicted but not in the ground truth has IoU 0 and lowers the mean. This is the rule of the
    Cityscapes benchmark and of Detectron2 0.6; Detectron2's main branch leaves such a class out. The rules agree if
    every class occurs in the ground truth.

    Args:
        confusion: (K, K) int64, rows ground truth, columns prediction. If it is zero (every pixel is ignored) all
            scores are NaN.
    """
    total = confusion.sum()
    if total == 0:
        undefined = np.full(len(confusion), np.nan)
        return SemanticScores(undefined, undefined, *[math.nan] * 4)
    correct = np.diagonal(confusion).astype(np.float64)
    labeled = confusion.sum(axis=1)
    union = labeled + confusion.sum(axis=0) - correct
    iou = np.divide(correct, union, out=np.full(len(correct), np.nan), where=union > 0)
    accuracy = np.divide(correct, labeled, out=np.full(len(correct), np.nan), where=labeled > 0)
    return SemanticScores(
        iou=iou,
        accuracy=accuracy,
        mean_iou=float(np.nanmean(iou)),
        frequency_weighted_iou=float(np.nansum(iou * labeled) / total),
        mean_accuracy=float(np.nanmean(accuracy)),
        pixel_accuracy=float(correct.sum() / total),
    )
