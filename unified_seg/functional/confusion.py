"""The confusion matrix of a semantic map, and the scores that follow from it.

K = classes. In a confusion matrix rows are the truth and columns the prediction.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SemanticScores:
    """Scores as fractions, 0 to 1.

    Attributes:
        iou: (K,) intersection over union; NaN for a class that is neither in the truth nor predicted.
        accuracy: (K,) share of a class's true pixels that got its label; NaN for a class that is not in the truth.
        mean_iou: the mean of `iou` over the classes that have one.
        frequency_weighted_iou: `iou` weighted by each class's share of the true pixels.
        mean_accuracy: the mean of `accuracy` over the classes that have one.
        pixel_accuracy: share of all pixels that got the right label.
    """

    iou: np.ndarray
    accuracy: np.ndarray
    mean_iou: float
    frequency_weighted_iou: float
    mean_accuracy: float
    pixel_accuracy: float


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, num_classes: int, ignore_label: int) -> np.ndarray:
    """Count the pixels of every pair (true class, predicted class).

    Args:
        truth: any shape, integers: 0 .. K-1, or `ignore_label` where a pixel does not count.
        prediction: the same shape, integers 0 .. K-1.
        num_classes: K.
        ignore_label: outside 0 .. K-1.

    Returns:
        (K, K) int64; its sum is the number of pixels whose truth is not `ignore_label`.

    Raises:
        ValueError: shapes that differ, or an id that is no class. Ids out of range are never clipped or dropped: they
            mean that the labels are of another convention, and any score would be wrong.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"the truth has shape {truth.shape}, the prediction {prediction.shape}")
    _check_ids(prediction, num_classes, "prediction")
    valid = truth != ignore_label
    true_ids = truth[valid].astype(np.int64)
    _check_ids(true_ids, num_classes, "truth")
    pairs = true_ids * num_classes + prediction[valid]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64, copy=False)


def semantic_scores(confusion: np.ndarray) -> SemanticScores:
    """Scores of a confusion matrix.

    A class enters the mean IoU if it occurs in the truth or in the prediction (at pixels that count), so a class
    that is predicted but never true has IoU 0 and lowers the mean. This is the rule of the Cityscapes benchmark, and
    the mean of Detectron2 0.6; Detectron2's main leaves such a class out, which forgives every pixel given to it. The
    rules agree wherever every class occurs in the truth.

    Args:
        confusion: (K, K) int64, rows truth, columns prediction.

    Raises:
        ValueError: the matrix is empty (no image, or every pixel ignored), so that no score is defined.
    """
    total = confusion.sum()
    if total == 0:
        raise ValueError("no pixel with a true class: there is nothing to score")
    correct = np.diagonal(confusion).astype(np.float64)
    true = confusion.sum(axis=1)
    union = true + confusion.sum(axis=0) - correct
    iou = np.divide(correct, union, out=np.full(len(correct), np.nan), where=union > 0)
    accuracy = np.divide(correct, true, out=np.full(len(correct), np.nan), where=true > 0)
    return SemanticScores(
        iou=iou,
        accuracy=accuracy,
        mean_iou=float(np.nanmean(iou)),
        frequency_weighted_iou=float(np.nansum(iou * true) / total),
        mean_accuracy=float(np.nanmean(accuracy)),
        pixel_accuracy=float(correct.sum() / total),
    )


def _check_ids(ids: np.ndarray, num_classes: int, what: str) -> None:
    if ids.size and (ids.min() < 0 or ids.max() >= num_classes):
        outside = sorted({int(i) for i in np.unique(ids)} - set(range(num_classes)))
        raise ValueError(f"the {what} holds the ids {outside}, but the classes are 0 .. {num_classes - 1}")
