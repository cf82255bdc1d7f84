"""Bilinear resampling of logits from a head's stride to the pixels of the original image, by compiled loops.

K = classes, (h, w) = logits, (H, W) = output.
"""

from typing import NamedTuple

import numpy as np

from unified_seg_arrays.compiled import compiled
from unified_seg_arrays.levels import LEVELS


class ArrayPositions(NamedTuple):
    """Positions of the L rows (or columns) of an output between those of the logits.

    Attributes:
        first, second: (L,) int64, the neighboring rows of the logits; the same row beyond the outermost ones.
        weight: (L,) float32 in [0, 1], the weight of the second row.
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray


def find_positions(length: int, input_length: int, stride: int, cells: int) -> ArrayPositions:
    """Compute the positions of the rows (or columns) of an output.

    Pixel centers lie at halves (align_corners=False): row i of the output is at (i + 0.5) * step - 0.5 of the logits.

    Args:
        length: rows of the output.
        input_length: rows of the network's input, without padding.
        stride: input pixels per row of the logits.
        cells: rows of the logits.
    """
    step = np.float32(input_length / length / stride)
    position = (np.arange(length, dtype=np.float32) + np.float32(0.5)) * step - np.float32(0.5)
    position = position.clip(0, cells - 1)
    first = np.floor(position).astype(np.int64)
    return ArrayPositions(first, np.minimum(first + 1, cells - 1), position - first.astype(np.float32))


def read_labels(logits: np.ndarray, rows: ArrayPositions, columns: ArrayPositions) -> np.ndarray:
    """Compute the class with the largest interpolated logit: (H, W), uint8 for up to 256 classes, else int16.

    Most interpolation is skipped: if one class has the largest logit at all neighbors of a pixel it has it at the pixel
    too, since a bilinear mean keeps the order of two classes. Of classes within a rounding error of each other either
    may be chosen there.

    Args:
        logits: (K, h, w) float32.
        rows, columns: H and W positions.
    """
    labels = np.empty((len(rows.weight), len(columns.weight)), dtype=np.uint8 if len(logits) <= 256 else np.int16)
    interpolate_labels(np.ascontiguousarray(logits), *rows, *columns, labels)
    return labels


def read_levels(planes: np.ndarray, choice: np.ndarray, rows: ArrayPositions, columns: ArrayPositions) -> np.ndarray:
    """Interpolate probabilities, at each pixel those of the plane that it chooses, in 8 bits.

    Args:
        planes: (C, h, w) float32 in [0, 1].
        choice: (H, W) integer, a plane of each pixel.
        rows, columns: H and W positions.

    Returns:
        (H, W) uint8, see `levels`.
    """
    levels = np.empty(choice.shape, dtype=np.uint8)
    interpolate_levels(np.ascontiguousarray(planes), np.ascontiguousarray(choice), *rows, *columns, levels)
    return levels


@compiled
def interpolate_labels(
    logits: np.ndarray,
    top: np.ndarray,
    bottom: np.ndarray,
    row_weight: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    column_weight: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Write the class with the largest logit at every pixel of `labels`; see `ArrayPositions`."""
    classes, _, width = logits.shape
    # The two source rows around a row of pixels, as (w, K), and the class with the largest logit at each position.
    upper, lower = np.empty((width, classes), np.float32), np.empty((width, classes), np.float32)
    upper_winner, lower_winner = np.empty(width, np.int64), np.empty(width, np.int64)
    upper_row, lower_row = -1, -1
    # The logits on a row of pixels at the source positions left and right of a pixel.
    at_left, at_right = np.empty(classes, np.float32), np.empty(classes, np.float32)
    for y in range(labels.shape[0]):
        if top[y] != upper_row:
            if top[y] == lower_row:
                upper, lower = lower, upper
                upper_winner, lower_winner = lower_winner, upper_winner
                lower_row = -1
            else:
                _read_row(logits, top[y], upper, upper_winner)
            upper_row = top[y]
        if bottom[y] != lower_row:
            _read_row(logits, bottom[y], lower, lower_winner)
            lower_row = bottom[y]
        x = 0
        while x < labels.shape[1]:
            first, second = left[x], right[x]
            end = x + 1
            while end < labels.shape[1] and left[end] == first:
                end += 1
            winner = upper_winner[first]
            if winner == upper_winner[second] == lower_winner[first] == lower_winner[second]:
                labels[y, x:end] = winner
            else:
                winner = _mix(upper[first], lower[first], row_weight[y], at_left)
                if winner == _mix(upper[second], lower[second], row_weight[y], at_right):
                    labels[y, x:end] = winner
                else:
                    for i in range(x, end):
                        labels[y, i] = _winner_between(at_left, at_right, column_weight[i])
            x = end


@compiled
def _read_row(logits: np.ndarray, row: int, values: np.ndarray, winners: np.ndarray) -> None:
    """Transpose a row of logits into (w, K), and find the class with the largest logit at each position."""
    winners[:] = 0
    for k in range(logits.shape[0]):
        for x in range(logits.shape[2]):
            value = logits[k, row, x]
            values[x, k] = value
            if value > values[x, winners[x]]:
                winners[x] = k


@compiled
def _mix(first: np.ndarray, second: np.ndarray, weight: float, result: np.ndarray) -> int:
    """Interpolate between two vectors of logits; return the class with the largest result."""
    winner = 0
    for k in range(len(result)):
        result[k] = first[k] + weight * (second[k] - first[k])
        if result[k] > result[winner]:
            winner = k
    return winner


@compiled
def _winner_between(first: np.ndarray, second: np.ndarray, weight: float) -> int:
    """Return the class with the largest logit, interpolated between two vectors."""
    winner, best = 0, first[0] + weight * (second[0] - first[0])
    for k in range(1, len(first)):
        value = first[k] + weight * (second[k] - first[k])
        if value > best:
            winner, best = k, value
    return winner


@compiled
def interpolate_levels(
    planes: np.ndarray,
    choice: np.ndarray,
    top: np.ndarray,
    bottom: np.ndarray,
    row_weight: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    column_weight: np.ndarray,
    levels: np.ndarray,
) -> None:
    """Write the interpolated level of the chosen plane at every pixel of `levels`; see `ArrayPositions`."""
    sure = np.float32((LEVELS - 1) / LEVELS)
    for y in range(levels.shape[0]):
        x = 0
        while x < levels.shape[1]:
            plane, first, second = choice[y, x], left[x], right[x]
            end = x + 1
            while end < levels.shape[1] and choice[y, end] == plane and left[end] == first:
                end += 1
            a, b = planes[plane, top[y], first], planes[plane, top[y], second]
            c, d = planes[plane, bottom[y], first], planes[plane, bottom[y], second]
            if min(min(a, b), min(c, d)) >= sure:
                levels[y, x:end] = LEVELS - 1
            else:
                for i in range(x, end):
                    upper = a + column_weight[i] * (b - a)
                    lower = c + column_weight[i] * (d - c)
                    value = upper + row_weight[y] * (lower - upper)
                    levels[y, i] = min(int(value * np.float32(LEVELS)), LEVELS - 1)
            x = end
