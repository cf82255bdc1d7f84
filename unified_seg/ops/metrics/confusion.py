"""The confusion matrix of a semantic map, and the scores that follow from it.

K = classes. In a confusion matrix rows are the ground truth and columns the prediction.
"""

from dataclasses import dataclass

import numpy as np

from unified_seg.ops.compiled import compiled


@dataclass(frozen=True)
class SemanticScores:
    """Scores as fractions, 0 to 1.

    Attributes:
        iou: (K,) intersection over union; NaN for a class that is neither in the ground truth nor predicted.
        accuracy: (K,) share of a class's true pixels that got its label; NaN for a class that is not in the ground truth.
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


def confusion_matrix(
    ground_truth: np.ndarray, prediction: np.ndarray, num_classes: int, ignore_label: int
) -> np.ndarray:
    """Count the pixels of every pair (true class, predicted class).

    Args:
        ground_truth: any shape, any integer type: 0 .. K-1, or `ignore_label` where a pixel does not count.
        prediction: the same shape, any integer type, 0 .. K-1, also where the ground truth is ignored.
        num_classes: K.
        ignore_label: outside 0 .. K-1.

    Returns:
        (K, K) int64; its sum is the number of pixels whose ground truth is not `ignore_label`.

    Raises:
        ValueError: shapes that differ, or an id that is no class. Ids out of range are never clipped or dropped: they
            mean that the labels are of another convention, and any score would be wrong.
    """
    if ground_truth.shape != prediction.shape:
        raise ValueError(f"the ground truth has shape {ground_truth.shape}, the prediction {prediction.shape}")
    true, predicted = (np.ascontiguousarray(ids).reshape(-1) for ids in (ground_truth, prediction))
    counts = np.zeros((4, num_classes + 1, num_classes), dtype=np.int64)
    if not _count_classes(true, predicted, ignore_label, counts):
        for what, ids, known in (
            ("prediction", predicted, range(num_classes)),
            ("truth", true, [*range(num_classes), ignore_label]),
        ):
            if outside := np.setdiff1d(ids, known).tolist():
                raise ValueError(f"the {what} holds the ids {outside}, but the classes are 0 .. {num_classes - 1}")
    return counts.sum(axis=0)[:num_classes]


@compiled
def _count_classes(ground_truth: np.ndarray, prediction: np.ndarray, ignore_label: int, counts: np.ndarray) -> bool:
    """Add the pixels of flat maps to `counts` (4, K + 1, K), row K for ignored ones; False at an id out of range."""
    num_classes = counts.shape[2]
    for i in range(len(ground_truth)):
        true, predicted = np.int64(ground_truth[i]), np.int64(prediction[i])
        if true == ignore_label:
            true = num_classes
        elif true < 0 or true >= num_classes:
            return False
        if predicted < 0 or predicted >= num_classes:
            return False
        # Neighbors mostly count for one pair; a processor that adds to one number twice in a row waits in between.
        counts[i & 3, true, predicted] += 1
    return True


def merge_categories(confusion: np.ndarray, category_of: np.ndarray) -> np.ndarray:
    """The confusion matrix of categories, from that of their classes.

    A class taken for another one of its category counts as right, so `compute_semantic_scores` of the result are Cityscapes'
    scores of categories (evalPixelLevelSemanticLabeling, getIouScoreForCategory).

    Args:
        confusion: (K, K) int64.
        category_of: (K,) the category of each class, 0 .. C-1, none left out.

    Returns:
        (C, C) int64, with the sum of `confusion`.
    """
    members = np.equal.outer(np.arange(category_of.max() + 1), category_of).astype(np.int64)
    return members @ confusion @ members.T


def compute_semantic_scores(confusion: np.ndarray) -> SemanticScores:
    """Scores of a confusion matrix.

    A class enters the mean IoU if it occurs in the ground truth or in the prediction (at pixels that count), so a class
    that is predicted but never true has IoU 0 and lowers the mean. This is the rule of the Cityscapes benchmark, and
    the mean of Detectron2 0.6; Detectron2's main leaves such a class out, which forgives every pixel given to it. The
    rules agree wherever every class occurs in the ground truth.

    Args:
        confusion: (K, K) int64, rows ground truth, columns prediction.

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
