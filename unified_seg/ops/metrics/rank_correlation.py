"""Spearman's rank correlation of scores with a ground truth, with bootstrap intervals over images.

N = images, R = resamples.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

RESAMPLES = 2_000
CHUNK = 500  # resamples at a time, to bound the memory for thousands of images


class Interval(NamedTuple):
    """A value with the bounds of its 95 % interval; NaN if undefined."""

    value: float
    low: float
    high: float


class RankComparison(NamedTuple):
    """The rank correlations in [-1, 1] of two scores with the ground truth, and the first minus the second."""

    method: Interval
    baseline: Interval
    difference: Interval


def rank_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute Spearman's rank correlation: Pearson's of the ranks, where ties have their mean rank.

    Args:
        x, y: (..., N).

    Returns:
        (...,) float64 in [-1, 1]; NaN if `x` or `y` is constant.
    """
    ranks = [rankdata(values, axis=-1) for values in (x, y)]
    a, b = (each - each.mean(axis=-1, keepdims=True) for each in ranks)
    scale = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    product = (a * b).sum(axis=-1)
    return np.divide(product, scale, out=np.full(scale.shape, np.nan), where=scale > 0)


def compare_rankings(
    method: np.ndarray, baseline: np.ndarray, ground_truth: np.ndarray, resamples: int = RESAMPLES
) -> RankComparison:
    """Compute the rank correlations of two scores with the ground truth, with 95 % percentile intervals.

    A resample draws N images with replacement, the same ones for both scores. The draws are seeded: equal arguments
    give equal intervals.

    Args:
        method, baseline, ground_truth: (N,) finite.
        resamples: R.

    Raises:
        ValueError: the arrays are empty or differ in shape.
    """
    if method.ndim != 1 or not method.size or not method.shape == baseline.shape == ground_truth.shape:
        raise ValueError(
            f"all three arrays must have one shape (N,), got {method.shape}, {baseline.shape} and {ground_truth.shape}"
        )
    random = np.random.default_rng(0)
    parts = []
    for start in range(0, resamples, CHUNK):
        drawn = random.integers(len(ground_truth), size=(min(CHUNK, resamples - start), len(ground_truth)))
        parts.append([rank_correlation(score[drawn], ground_truth[drawn]) for score in (method, baseline)])
    resampled = np.concatenate(parts, axis=1)
    values = [float(rank_correlation(score, ground_truth)) for score in (method, baseline)]
    return RankComparison(
        _make_interval(values[0], resampled[0]),
        _make_interval(values[1], resampled[1]),
        _make_interval(values[0] - values[1], resampled[0] - resampled[1]),
    )


def _make_interval(value: float, resampled: np.ndarray) -> Interval:
    defined = resampled[~np.isnan(resampled)]
    low, high = np.percentile(defined, [2.5, 97.5]).tolist() if defined.size else (np.nan, np.nan)
    return Interval(value, low, high)
