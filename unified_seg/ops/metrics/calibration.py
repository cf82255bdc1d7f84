"""Calibration of confidences.

Guo et al., "On Calibration of Modern Neural Networks", 2017, section 2: reliability diagrams and the expected
calibration error.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unified_seg.ops.levels import LEVELS

#: Bins of equal width, as many as in the paper.
NUM_BINS = 15


class Bin(NamedTuple):
    """Predictions of about the same confidence.

    Attributes:
        low, high: their confidences are in [low, high).
        confidence: the mean.
        accuracy: the share that is right.
        number: of predictions, at least 1.
    """

    low: float
    high: float
    confidence: float
    accuracy: float
    number: int


def bin_levels(counts: np.ndarray) -> list[Bin]:
    """Return the bins of a reliability diagram that have predictions.

    Args:
        counts: (256, 2), for each level of the confidence (see `ops.levels`) the predictions that are wrong, and that
            are right.
    """
    confidence = (np.arange(LEVELS) + 0.5) / LEVELS
    index = np.arange(LEVELS) * NUM_BINS // LEVELS
    numbers = counts.sum(axis=1)
    number, right, total = (
        np.bincount(index, weights, NUM_BINS) for weights in (numbers, counts[:, 1], numbers * confidence)
    )
    return [
        Bin(i / NUM_BINS, (i + 1) / NUM_BINS, float(total[i] / number[i]), float(right[i] / number[i]), int(number[i]))
        for i in np.flatnonzero(number).tolist()
    ]


def compute_calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: the mean distance of accuracy and confidence; NaN without predictions."""
    total = sum(each.number for each in bins)
    if not total:
        return float("nan")
    return sum(each.number * abs(each.accuracy - each.confidence) for each in bins) / total
