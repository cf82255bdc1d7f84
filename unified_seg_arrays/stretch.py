"""The contrast of an image, stretched to percentiles of its own values."""

import math

import numpy as np

from unified_seg_arrays.compiled import compiled

Percentiles = tuple[float, float]


def stretch_contrast(image: np.ndarray, percentiles: Percentiles, *, by_channel: bool = False) -> np.ndarray:
    """Return an image whose low percentile becomes 0 and whose high one becomes 255, with equal steps in between.

    Both are values of pixels: the low one is rounded down to the next, the high one up. A stretched image therefore
    stays as it is if it is stretched again.

    Args:
        image: (H, W, C) numbers of any type; NaN counts as its lowest number, infinity as its highest.
        percentiles: 0 <= low < high <= 100.
        by_channel: each channel has percentiles of its own; else all have the same, which keeps hues.

    Returns:
        (H, W, C) uint8. If both percentiles are the same value, higher ones are 255, and all others 0.
    """
    if by_channel:
        channels = np.split(image, image.shape[2], axis=2)
        return np.concatenate([stretch_contrast(channel, percentiles) for channel in channels], axis=2)
    if image.dtype.kind == "f":
        image = _replace_missing(image)
    ranks = _find_ranks(image, percentiles)
    if image.dtype in (np.uint8, np.uint16):
        # There are so few values that to count them takes less time than to order them.
        counts = np.zeros(np.iinfo(image.dtype).max + 1, dtype=np.int64)
        _count_values(image.reshape(-1), counts)
        low, high = np.searchsorted(counts.cumsum(), ranks, side="right")
        return _scale(np.arange(len(counts)), low, high)[image]
    low, high = np.partition(image.reshape(-1), ranks)[ranks]
    return _scale(image, low, high)


def _replace_missing(image: np.ndarray) -> np.ndarray:
    finite = image[np.isfinite(image)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0, 0)
    return np.nan_to_num(image, nan=low, neginf=low, posinf=high)


def _find_ranks(image: np.ndarray, percentiles: Percentiles) -> list[int]:
    """Return the ranks of the percentiles among the samples, from 0 on.

    They are those of pixels: a gray image has the same percentiles in one channel and in three.
    """
    height, width, channels = image.shape
    low, high = (share / 100 * (height * width - 1) for share in percentiles)
    return [math.floor(low) * channels, math.ceil(high) * channels + channels - 1]


@compiled
def _count_values(values: np.ndarray, counts: np.ndarray) -> None:
    """Add the number of times that each value occurs."""
    for value in values:
        counts[value] += 1


def _scale(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if low == high:
        return np.where(values > high, 255, 0).astype(np.uint8)
    shares = (values.astype(np.float64) - float(low)) / (float(high) - float(low))
    return (shares.clip(0, 1) * 255).round().astype(np.uint8)
