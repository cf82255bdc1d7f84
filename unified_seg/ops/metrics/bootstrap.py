"""A paired bootstrap over images: does the difference of two networks' scores depend on which images are scored?

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (the percentile interval). A resample
draws N images with replacement, the same for both networks and for every seed. So the interval tells how the difference
of *these* networks depends on the images; the spread over seeds tells what another training would give. The draws are
fixed: the same input gives the same interval.

S = seeds, N = images, K = classes, R = resamples. Counts of mIoU are (..., 3, K): pixels of the intersection, of the
ground truth and of the prediction; those of PQ (..., 4, K): the summed IoU of the matches, true positives, false
positives and false negatives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unified_seg.ops.metrics.average_precision import InstanceMatches, compute_resampled_ap

RESAMPLES = 10_000
AP_RESAMPLES = 1_000  # each sorts out all detections anew
CHUNK = 500  # resamples at a time, so that data sets of thousands of images fit into memory
AP_CHUNK = 50


@dataclass(frozen=True)
class Interval:
    """A difference in percentage points, with the bounds of its 95 % interval."""

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
    return _average_classes(intersection, ground_truth + predicted - intersection)


def compute_mean_pq(counts: np.ndarray) -> np.ndarray:
    """Compute PQ in percent, over the classes that occur in the ground truth or the prediction.

    `unified_seg.ops.metrics.panoptic_quality.compute_panoptic_scores` has the same rule for one whole data set.

    Args:
        counts: (..., 4, K), summed over the images to score together.

    Returns:
        (...,) float64; NaN without a class that occurs.
    """
    iou, true_positives, false_positives, false_negatives = np.moveaxis(np.asarray(counts, dtype=np.float64), -2, 0)
    segments = true_positives + (false_positives + false_negatives) / 2
    return _average_classes(iou, segments)


def _average_classes(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return 100 * the mean of part / whole, (..., K), over the classes whose whole is above 0."""
    ratio = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    classes = (whole > 0).sum(axis=-1)
    return 100 * np.divide(ratio.sum(axis=-1), classes, out=np.full(classes.shape, np.nan), where=classes > 0)


def bootstrap_difference(
    method: np.ndarray,
    baseline: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray] = compute_mean_iou,
    resamples: int = RESAMPLES,
) -> Interval:
    """Compute the mean over seeds of the method's minus the baseline's mIoU or PQ, with a 95 % percentile interval.

    Args:
        method: (S, N, 3, K) counts, or of the form that `score` takes, images in the same order in both.
        baseline: the same of the baseline, of the same seeds.
        score: of the summed counts of the drawn images, in percent.
        resamples: R.

    Raises:
        ValueError: the shapes differ, or there is no seed or no image.
    """
    if method.shape != baseline.shape or method.ndim != 4 or 0 in method.shape:
        raise ValueError(
            "counts: both arrays must have one shape (seeds, images, counts, classes), got "
            f"{method.shape} and {baseline.shape}"
        )

    def compute(drawn: np.ndarray) -> np.ndarray:
        scores = [score(np.tensordot(drawn.astype(np.float64), counts, axes=(1, 1))) for counts in (method, baseline)]
        return (scores[0] - scores[1]).mean(axis=1)

    return _bootstrap(compute, method.shape[1], resamples, CHUNK)


def bootstrap_ap_difference(
    method: Sequence[InstanceMatches],
    baseline: Sequence[InstanceMatches],
    images: int,
    resamples: int = AP_RESAMPLES,
) -> Interval:
    """Compute the mean over seeds of the method's minus the baseline's AP, with a 95 % percentile interval.

    Args:
        method: the matches of each seed, images numbered in the same order in all.
        baseline: the same of the baseline, of the same seeds.
        images: N.
        resamples: R.

    Raises:
        ValueError: different numbers of seeds, or there is no seed or no image.
    """
    if len(method) != len(baseline) or not method or images < 1:
        raise ValueError(f"matches: {len(method)} and {len(baseline)} seeds of {images} images can't be compared")

    def compute(drawn: np.ndarray) -> np.ndarray:
        pairs = zip(method, baseline)
        return np.mean([compute_resampled_ap(a, drawn) - compute_resampled_ap(b, drawn) for a, b in pairs], axis=0)

    return _bootstrap(compute, images, resamples, AP_CHUNK)


def _bootstrap(compute: Callable[[np.ndarray], np.ndarray], images: int, resamples: int, chunk: int) -> Interval:
    """Resample a function that maps (R, N), how often each image is drawn, to (R,) differences."""
    random = np.random.default_rng(0)
    differences = []
    for start in range(0, resamples, chunk):
        drawn = random.multinomial(images, np.full(images, 1 / images), size=min(chunk, resamples - start))
        differences.append(compute(drawn))
    low, high = np.nanpercentile(np.concatenate(differences), [2.5, 97.5])
    mean = compute(np.ones((1, images), dtype=np.int64))[0]
    return Interval(float(mean), float(low), float(high))
