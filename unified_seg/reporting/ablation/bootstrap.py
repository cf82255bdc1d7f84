"""A paired bootstrap over images: does the difference of two networks' mIoU depend on which images are scored?

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (the percentile interval).

S = seeds, N = images, K = classes, R = resamples. Counts are (..., 3, K): pixels of the intersection, of the ground
truth and of the prediction.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
CHUNK = 500  # resamples at a time, so that data sets of thousands of images fit into memory


@dataclass(frozen=True)
class Interval:
    """A difference in percentage points of mIoU, with the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float


def compute_mean_iou(counts: np.ndarray) -> np.ndarray:
    """Compute mIoU in percent, over the classes that occur in the ground truth or the prediction.

    `unified_seg.ops.metrics.confusion.compute_semantic_scores` has the same rule for one whole confusion matrix.

    Args:
        counts: (..., 3, K), summed over the images to score together.

    Returns:
        (...,) float64; NaN without a class that occurs.
    """
    intersection, ground_truth, predicted = np.moveaxis(np.asarray(counts, dtype=np.float64), -2, 0)
    union = ground_truth + predicted - intersection
    iou = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    classes = (union > 0).sum(axis=-1)
    return 100 * np.divide(iou.sum(axis=-1), classes, out=np.full(classes.shape, np.nan), where=classes > 0)


def bootstrap_difference(method: np.ndarray, baseline: np.ndarray, resamples: int = RESAMPLES) -> Interval:
    """Compute the mean over seeds of the method's minus the baseline's mIoU, with a 95 % percentile interval.

    A resample draws N images with replacement, the same for both networks and for every seed, and scores each network
    on the summed counts of the drawn images. So the interval tells how the difference of *these* networks depends on
    the images; the spread over seeds tells what another training would give. The draws are fixed: the same counts give
    the same interval.

    Args:
        method: (S, N, 3, K) counts, images in the same order in both.
        baseline: (S, N, 3, K) counts, of the same seeds.
        resamples: R.

    Raises:
        ValueError: the shapes differ, or there is no seed or no image.
    """
    if method.shape != baseline.shape or method.ndim != 4 or method.shape[2] != 3 or 0 in method.shape:
        raise ValueError(
            f"counts: both arrays must have shape (seeds, images, 3, classes), got {method.shape} and {baseline.shape}"
        )
    images = method.shape[1]
    random = np.random.default_rng(0)
    differences = []
    for start in range(0, resamples, CHUNK):
        drawn = random.multinomial(images, np.full(images, 1 / images), size=min(CHUNK, resamples - start))
        differences.append(_compute_differences(drawn, method, baseline))
    low, high = np.nanpercentile(np.concatenate(differences), [2.5, 97.5])
    mean = _compute_differences(np.ones((1, images)), method, baseline)[0]
    return Interval(float(mean), float(low), float(high))


def _compute_differences(drawn: np.ndarray, method: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """(R, N) how often each image is drawn -> (R,) the mean over seeds of method minus baseline."""
    drawn = drawn.astype(np.float64)
    scores = [compute_mean_iou(np.tensordot(drawn, counts, axes=(1, 1))) for counts in (method, baseline)]
    return (scores[0] - scores[1]).mean(axis=1)
