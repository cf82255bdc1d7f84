"""Resize of images, equal to Pillow's to the last bit, of a window of the result alone.

Detectron2 resizes training images with Pillow, and then crops and transposes them. Pillow computes its weights anew
from a box with rounded borders, so it can't compute a crop of the result exactly; here pixels outside of the crop are
never computed, and the result is stored channel by channel, as a model reads it.

Values are rounded to bytes between the resize of the columns and that of the rows. The columns are first here, as in
every version of Pillow if the image does not lose rows; if it does, Pillow 13 may start with the rows.

H, W, C = the image; h, w = the window.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from unified_seg_arrays.compiled import compiled

# Pillow's fixed-point numbers: a sum of 8-bit values times weights fits into 32 bits.
PRECISION_BITS = 32 - 8 - 2

Range = tuple[int, int]


class Weights(NamedTuple):
    """The weights of the input pixels of each output pixel along an axis, as fixed-point numbers.

    Attributes:
        starts: (n,) int64, the first input pixel of each output pixel.
        values: (n, k) int32, the weights of k input pixels from there on; 0 for those that do not count.
    """

    starts: np.ndarray
    values: np.ndarray


@lru_cache(maxsize=128)
def compute_weights(length: int, new_length: int, window: Range) -> Weights:
    """Return Pillow's bilinear weights along an axis; for a smaller result its triangle is wider, against aliasing.

    Args:
        length: of the input, in pixels.
        new_length: of the output.
        window: first and last + 1 of the output pixels that are computed.
    """
    scale = length / new_length
    support = max(scale, 1.0)
    centers = (np.arange(*window) + 0.5) * scale
    # As in C, the conversion to integers drops the fraction.
    starts = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    stops = np.minimum((centers + support + 0.5).astype(np.int64), length)
    size = int((stops - starts).max())
    weights = np.zeros((len(starts), size))
    total = np.zeros(len(starts))
    for tap in range(size):
        distance = np.abs((starts + tap - centers + 0.5) * (1.0 / support))
        weights[:, tap] = np.where((distance < 1) & (starts + tap < stops), 1 - distance, 0)
        total += weights[:, tap]
    values = (0.5 + weights / total[:, None] * (1 << PRECISION_BITS)).astype(np.int32)
    # So that all taps are pixels of the input, whatever their weight is.
    shift = np.maximum(starts + size - length, 0)
    for row in np.flatnonzero(shift):
        values[row] = np.roll(values[row], shift[row])
    return Weights(starts - shift, values)


def resize_image(image: np.ndarray, rows: Weights, columns: Weights) -> np.ndarray:
    """Return the window of the resized image for which the weights are, (h, w) or (h, w, C) uint8.

    Args:
        image: (H, W) or (H, W, C) uint8.
        rows, columns: the weights along both axes.

    Returns:
        A view of an array (C, h, w).
    """
    pixels = image[..., None] if image.ndim == 2 else image
    first = int(rows.starts.min())
    last = int((rows.starts + rows.values.shape[1]).max())
    wide = np.empty((pixels.shape[2], last - first, len(columns.starts)), dtype=np.uint8)
    _resize_columns(pixels[first:last], *columns, wide)
    result = np.empty((pixels.shape[2], len(rows.starts), len(columns.starts)), dtype=np.uint8)
    _resize_rows(wide, rows.starts - first, rows.values, result)
    return result[0] if image.ndim == 2 else result.transpose(1, 2, 0)


@compiled
def _resize_columns(image: np.ndarray, starts: np.ndarray, values: np.ndarray, result: np.ndarray) -> None:
    """Resize each row of (H, W, C) into (C, H, w)."""
    channels, height, width = result.shape
    half = np.int32(1 << (PRECISION_BITS - 1))
    taps = values.shape[1]
    # Unsigned indices are not looked at for negative ones, which takes a third of the time.
    places = starts.astype(np.uint64)
    for y in range(height):
        row = image[y]
        if channels == 3 and taps == 2:  # a larger color image: the usual case, all at once
            for x in range(width):
                place, left, right = places[x], values[x, 0], values[x, 1]
                for c in range(3):
                    total = half + np.int32(row[place, c]) * left + np.int32(row[place + np.uint64(1), c]) * right
                    result[c, y, x] = total >> PRECISION_BITS
        else:
            for c in range(channels):
                for x in range(width):
                    total = half
                    for tap in range(taps):
                        total = np.int32(total + np.int32(row[places[x] + np.uint64(tap), c]) * values[x, tap])
                    result[c, y, x] = total >> PRECISION_BITS


@compiled
def _resize_rows(image: np.ndarray, starts: np.ndarray, values: np.ndarray, result: np.ndarray) -> None:
    """Resize each column of (C, H, w) into (C, h, w)."""
    channels, height, width = result.shape
    total = np.empty(width, dtype=np.int32)
    for c in range(channels):
        for y in range(height):
            total[:] = 1 << (PRECISION_BITS - 1)
            for tap in range(values.shape[1]):
                row, weight = image[c, starts[y] + tap], values[y, tap]
                for x in range(width):
                    total[x] += np.int32(row[x]) * weight
            for x in range(width):
                result[c, y, x] = total[x] >> PRECISION_BITS


def find_nearest(length: int, new_length: int, window: Range) -> np.ndarray:
    """Return the input pixel that Pillow's nearest-neighbor resize takes for each output pixel along an axis.

    Args:
        length, new_length, window: as in `compute_weights`.

    Returns:
        (n,) int64.
    """
    step = length / new_length
    # Pillow adds the steps one by one.
    places = np.cumsum(np.r_[step * 0.5, np.full(window[1] - 1, step)])
    return places[window[0] :].astype(np.int64).clip(0, length - 1)
