"""The contrast of an image, stretched to percentiles of its own values."""

import math

import numpy as np


def stretch_contrast(image: np.ndarray, percentiles: tuple[float, float], *, by_channel: bool = False) -> np.ndarray:
    """Return an image whose low percentile becomes 0 and whose high one becomes 255, in equal steps.

    Percentiles are values of the image, the next lower one of the first and the next higher one of the second, so that
    a stretched image stays as it is when it is stretched again.

    Args:
        image: (H, W, C) numbers of any type; NaN and infinity have no percentile.
        percentiles: 0 <= low < high <= 100.
        by_channel: each channel has percentiles of its own; else all have the same, which keeps hues.

    Returns:
        (H, W, C) uint8, all 0 of an image of one value; NaN becomes 0.
    """
    if by_channel:
        channels = np.split(image, image.shape[2], axis=2)
        return np.concatenate([stretch_contrast(channel, percentiles) for channel in channels], axis=2)
    low, high = _find_percentiles(image, percentiles)
    # Of bytes there are so few that a table takes less time and memory.
    values = np.arange(256) if image.dtype == np.uint8 else image.astype(np.float64)
    shares = (values - low) / (high - low if high > low else 1.0)
    stretched = (np.nan_to_num(shares.clip(0, 1)) * 255).round().astype(np.uint8)
    return stretched[image] if image.dtype == np.uint8 else stretched


def _find_percentiles(image: np.ndarray, percentiles: tuple[float, float]) -> tuple[float, float]:
    values = image[np.isfinite(image)] if image.dtype.kind == "f" else image.reshape(-1)
    if not len(values):
        return 0.0, 0.0
    # Ranks of pixels, not of samples: a gray image has the same percentiles in one channel and in three.
    channels = image.shape[2]
    last = -(-len(values) // channels) - 1
    lowest = math.floor(percentiles[0] / 100 * last) * channels
    highest = min((math.ceil(percentiles[1] / 100 * last) + 1) * channels, len(values)) - 1
    ordered = np.partition(values, (lowest, highest))
    return float(ordered[lowest]), float(ordered[highest])
