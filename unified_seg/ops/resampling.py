"""Bilinear resampling of logits from a head's stride to the pixels of the original image.

Detectron2 resizes twice (to the padded input, then to the original image). One resize is sharper and cheaper, and it
runs stripe by stripe, so that K full-resolution planes never have to exist.

K = classes, (h, w) = logits, (H, W) = output.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.ops.compiled import compiled
from unified_seg.ops.devices import upload
from unified_seg.ops.levels import LEVELS, to_levels

# Values of a stripe of resized logits: 10 MB, 64 rows of 19 classes at 2048 pixels.
STRIPE_VALUES = 64 * 19 * 2048


@dataclass(frozen=True)
class Positions:
    """Positions of the L rows (or columns) of an output between those of the logits.

    Attributes:
        first, second: (L,) int64, the neighboring rows of the logits; the same row beyond the outermost ones.
        weight: (L,) float32 in [0, 1], the weight of the second row.
    """

    first: Tensor
    second: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.weight)

    def select(self, rows: slice | Tensor, origin: int = 0) -> "Positions":
        """Return the positions of some of the rows, relative to row `origin` of the logits."""
        return Positions(self.first[rows] - origin, self.second[rows] - origin, self.weight[rows])

    def flip(self) -> "Positions":
        """Return the positions in reverse order."""
        return Positions(self.first.flip(0), self.second.flip(0), self.weight.flip(0))

    def to(self, device: torch.device) -> "Positions":
        return Positions(*(upload(values, device) for values in (self.first, self.second, self.weight)))


def compute_positions(length: int, input_length: int, stride: int, cells: int) -> Positions:
    """Compute the positions of the rows (or columns) of an output.

    Pixel centers lie at halves (align_corners=False): row i of the output is at (i + 0.5) * step - 0.5 of the logits.

    Args:
        length: rows of the output.
        input_length: rows of the network's input, without padding.
        stride: input pixels per row of the logits.
        cells: rows of the logits.
    """
    step = input_length / length / stride
    position = (torch.arange(length, dtype=torch.float32) + 0.5) * step - 0.5
    position = position.clamp(0, cells - 1)
    first = position.floor().long()
    return Positions(first, (first + 1).clamp(max=cells - 1), position - first)


def sample_logits(logits: Tensor, rows: Positions, columns: Positions) -> Tensor:
    """Interpolate logits (K, h, w) at H rows and W columns: (K, H, W) float32."""
    return torch.cat(list(sample_stripes(logits, rows, columns)), dim=1)


def sample_labels(logits: Tensor, rows: Positions, columns: Positions) -> Tensor:
    """Compute the class with the largest interpolated logit: (H, W), uint8 for up to 256 classes, else int16.

    On the CPU most interpolation is skipped: if one class has the largest logit at all neighbors of a pixel it has it
    at the pixel too, since a bilinear mean keeps the order of two classes. Of classes within a rounding error of each
    other either may be chosen there.
    """
    if logits.device.type != "cpu":
        return torch.cat([argmax_labels(stripe) for stripe in sample_stripes(logits, rows, columns)])
    labels = torch.empty((len(rows), len(columns)), dtype=_label_dtype(len(logits)))
    values = logits.detach().float().contiguous().numpy()
    positions = (rows.first, rows.second, rows.weight, columns.first, columns.second, columns.weight)
    _interpolate_labels(values, *(t.numpy() for t in (*positions, labels)))
    return labels


def sample_confidence(logits: Tensor, rows: Positions, columns: Positions) -> Tensor:
    """Compute the largest softmax probability of the interpolated logits: (H, W) float32."""
    return torch.cat([stripe.softmax(0).amax(0) for stripe in sample_stripes(logits, rows, columns)])


def sample_stripes(logits: Tensor, rows: Positions, columns: Positions) -> Iterator[Tensor]:
    """Yield `sample_logits` from top to bottom, in stripes (K, r, W) of about STRIPE_VALUES values."""
    logits = logits.float()
    columns = columns.to(logits.device)
    height = max(STRIPE_VALUES // (len(logits) * len(columns)), 1)
    for start in range(0, len(rows), height):
        here = rows.select(slice(start, start + height))
        # Columns first: before its rows are interpolated, a stripe of an enlarged map has few.
        top, bottom = int(here.first[0]), int(here.second[-1]) + 1
        source = logits[:, top:bottom]
        wide = torch.lerp(source[:, :, columns.first], source[:, :, columns.second], columns.weight)
        here = here.select(slice(None), top).to(logits.device)
        yield torch.lerp(wide[:, here.first], wide[:, here.second], here.weight[:, None])


def sample_levels(planes: Tensor, choice: Tensor, rows: Positions, columns: Positions) -> Tensor:
    """Interpolate probabilities, at each pixel those of the plane that it chooses, in 8 bits.

    Args:
        planes: (C, h, w) float32 in [0, 1].
        choice: (H, W) integer, a plane of each pixel.
        rows, columns: H and W positions.

    Returns:
        (H, W) uint8, see `levels`.
    """
    levels = torch.empty(choice.shape, dtype=torch.uint8, device=choice.device)
    if choice.device.type == "cpu":
        positions = (rows.first, rows.second, rows.weight, columns.first, columns.second, columns.weight)
        arrays = (planes.contiguous(), choice.contiguous(), *positions, levels)
        _interpolate_levels(*(array.numpy() for array in arrays))
        return levels
    rows, columns = rows.to(choice.device), columns.to(choice.device)
    choice = choice.long()
    top, bottom = (
        _between(
            planes[choice, row[:, None], columns.first], planes[choice, row[:, None], columns.second], columns.weight
        )
        for row in (rows.first, rows.second)
    )
    return to_levels(_between(top, bottom, rows.weight[:, None]))


def _between(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    # As in the compiled loop; torch.lerp rounds differently.
    return first + weight * (second - first)


def argmax_labels(values: Tensor) -> Tensor:
    """Return the argmax over the first dimension of (K, ...): uint8 for K up to 256, else int16."""
    # On the CPU several times faster than argmax.
    return values.max(0).indices.to(_label_dtype(len(values)))


def _label_dtype(classes: int) -> torch.dtype:
    return torch.uint8 if classes <= 256 else torch.int16


@compiled
def _interpolate_labels(
    logits: np.ndarray,
    top: np.ndarray,
    bottom: np.ndarray,
    row_weight: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    column_weight: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Write the class with the largest logit at every pixel of `labels`; see `Positions` for positions and weights."""
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
def _interpolate_levels(
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
    """Write the interpolated level of the chosen plane at every pixel of `levels`; see `Positions`."""
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


def upsample_to(source: Tensor, like: Tensor) -> Tensor:
    """Resize (N, C, h, w) bilinearly to the height and width of `like`."""
    return upsample_to_size(source, like.shape[-2:])


def upsample_to_size(source: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (N, C, h, w) bilinearly to a height and width."""
    if tuple(source.shape[-2:]) == tuple(size):
        return source
    return F.interpolate(source, size=tuple(size), mode="bilinear", align_corners=False)
