"""Does a score rank images as the ground truth does? Spearman's rank correlation, with bootstrap intervals.

N = images, R = resamples.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

RESAMPLES = 2_000
CHUNK = 500  # resamples at a time, so that data sets of thousands of images fit into memory


class Interval(NamedTuple):
    """A value with the bounds of its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float


class RankComparison(NamedTuple):
    """Attributes: rank correlations of two scores with the ground truth, -1 to 1, and the first minus the second."""

    ours: Interval
    rival: Interval
    difference: Interval


def rank_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation: Pearson's of the ranks, ties having their mean rank.

    Args:
        x, y: (..., N).

    Returns:
        (...,) float64, -1 to 1; NaN where one of the two is constant.
    """
    ranks = [rankdata(values, axis=-1) for values in (x, y)]
    a, b = (each - each.mean(axis=-1, keepdims=True) for each in ranks)
    scale = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    product = (a * b).sum(axis=-1)
    return np.divide(product, scale, out=np.full(scale.shape, np.nan), where=scale > 0)


def compare_rankings(
    ours: np.ndarray, rival: np.ndarray, ground_truth: np.ndarray, resamples: int = RESAMPLES
) -> RankComparison:
    """Rank correlations of two scores with the ground truth, with 95 % percentile intervals over images.

    A resample draws N images with replacement, the same for both scores. The draws are fixed: the same numbers give the
    same intervals.

    Args:
        ours, rival, ground truth: (N,) finite.
        resamples: R.

    Raises:
        ValueError: other shapes, or no image.
    """
    if ours.ndim != 1 or not ours.size or not ours.shape == rival.shape == ground_truth.shape:
        raise ValueError(
            f"expected three times (images,) values, got {ours.shape}, {rival.shape} and {ground_truth.shape}"
        )
    random = np.random.default_rng(0)
    parts = []
    for start in range(0, resamples, CHUNK):
        drawn = random.integers(len(ground_truth), size=(min(CHUNK, resamples - start), len(ground_truth)))
        parts.append([rank_correlation(score[drawn], ground_truth[drawn]) for score in (ours, rival)])
    of_ours, of_rival = np.concatenate(parts, axis=1)
    values = [float(rank_correlation(score, ground_truth)) for score in (ours, rival)]
    return RankComparison(
        _interval(values[0], of_ours),
        _interval(values[1], of_rival),
        _interval(values[0] - values[1], of_ours - of_rival),
    )


def _interval(value: float, resampled: np.ndarray) -> Interval:
    known = resampled[~np.isnan(resampled)]
    low, high = np.percentile(known, [2.5, 97.5]).tolist() if known.size else (np.nan, np.nan)
    return Interval(value, low, high)
