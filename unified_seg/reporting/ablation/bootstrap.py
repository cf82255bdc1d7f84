"""Is the difference of two networks' mIoU more than the luck of the images? A paired bootstrap.

S = seeds, N = images, K = classes, R = resamples. Counts are (..., 3, K): pixels of the intersection, of the ground truth and
of the prediction.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
CHUNK = 500  # resamples at a time, so that data sets of thousands of images fit into memory


@dataclass(frozen=True)
class Interval:
    """A difference in percent points of mIoU, with the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """mIoU in percent, over the classes that occur in the ground truth or the prediction; NaN where none does.

    `ops.metrics.confusion.compute_semantic_scores` has the same rule for one whole confusion matrix.

    Args:
        counts: (..., 3, K), summed over the images to score together.

    Returns:
        (...,) float64.
    """
    intersection, ground_truth, predicted = np.moveaxis(np.asarray(counts, dtype=np.float64), -2, 0)
    union = ground_truth + predicted - intersection
    iou = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    classes = (union > 0).sum(axis=-1)
    return 100 * np.divide(iou.sum(axis=-1), classes, out=np.full(classes.shape, np.nan), where=classes > 0)


def paired_difference(ours: np.ndarray, baseline: np.ndarray, resamples: int = RESAMPLES) -> Interval:
    """The mean over seeds of ours minus the baseline's mIoU, and its 95 % percentile interval over images.

    A resample draws N images with replacement, the same for both networks and for every seed, and scores each network
    on the summed counts of the drawn images. So the interval says how the difference of *these* networks depends on the
    images; what another training would give is for the spread over seeds to say. The draws are fixed: the same counts
    give the same interval.

    Args:
        ours: (S, N, 3, K) counts, images in the same order in both.
        baseline: (S, N, 3, K) counts, of the same seeds.
        resamples: R.

    Raises:
        ValueError: other shapes, no seed or no image.
    """
    if ours.shape != baseline.shape or ours.ndim != 4 or ours.shape[2] != 3 or 0 in ours.shape:
        raise ValueError(f"counts must be twice (seeds, images, 3, classes), got {ours.shape} and {baseline.shape}")
    images = ours.shape[1]
    random = np.random.default_rng(0)
    differences = []
    for start in range(0, resamples, CHUNK):
        drawn = random.multinomial(images, np.full(images, 1 / images), size=min(CHUNK, resamples - start))
        differences.append(_difference(drawn, ours, baseline))
    low, high = np.nanpercentile(np.concatenate(differences), [2.5, 97.5])
    mean = _difference(np.ones((1, images)), ours, baseline)[0]
    return Interval(float(mean), float(low), float(high))


def _difference(drawn: np.ndarray, ours: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """(R, N) how often each image is drawn -> (R,) ours minus baseline, the mean over seeds."""
    drawn = drawn.astype(np.float64)
    scores = [mean_iou(np.tensordot(drawn, counts, axes=(1, 1))) for counts in (ours, baseline)]
    return (scores[0] - scores[1]).mean(axis=1)
