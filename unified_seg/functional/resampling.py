"""From logits at a head's stride to an answer for every pixel of the original image, in one bilinear resize.

Detectron2 resizes twice (to the padded input, then to the original image). Once is sharper, cheaper, and can be done
stripe by stripe, so that K full-resolution planes never have to exist.

K = classes, (h, w) = logits, (H, W) = the answer.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.functional.compiled import compiled

# Rows of output per stripe: small enough that a stripe of 19 classes at 2048 pixels is 10 MB.
STRIPE_ROWS = 64


def resample_logits(logits: Tensor, stride: int, input_size: tuple[int, int], output_size: tuple[int, int]) -> Tensor:
    """Bilinear resize of one image's logits to its original size, leaving out the padding.

    Args:
        logits: (K, h, w), computed from an input padded at its right and bottom.
        stride: input pixels per pixel of the logits.
        input_size: height and width of the image as the network saw it, without padding.
        output_size: (H, W), of the original image.

    Returns:
        (K, H, W) float32.
    """
    return torch.cat(list(_stripes(logits, stride, input_size, output_size)), dim=1)


def resample_labels(logits: Tensor, stride: int, input_size: tuple[int, int], output_size: tuple[int, int]) -> Tensor:
    """The winning class of every pixel: `resample_logits(...).argmax(0)` without its K planes.

    On the CPU most of the interpolation is left out: where the same class wins on all sides of a pixel it wins at the
    pixel, since a bilinear mean keeps the order of two classes. There classes within a rounding error of each other
    may come out the other way round.

    Args: as of `resample_logits`.

    Returns:
        (H, W), uint8 for up to 256 classes, else int16.
    """
    dtype = torch.uint8 if len(logits) <= 256 else torch.int16
    if logits.device.type != "cpu":
        return torch.cat([s.argmax(0).to(dtype) for s in _stripes(logits, stride, input_size, output_size)])
    rows, columns = (_neighbours(logits, stride, input_size, output_size, dim) for dim in (0, 1))
    labels = torch.empty(output_size, dtype=dtype)
    values = logits.detach().float().contiguous().numpy()
    _interpolate_labels(values, *(t.numpy() for t in (*rows, *columns, labels)))
    return labels


def resample_confidence(
    logits: Tensor, stride: int, input_size: tuple[int, int], output_size: tuple[int, int]
) -> Tensor:
    """The softmax probability of every pixel's winning class.

    Args: as of `resample_logits`.

    Returns:
        (H, W) float32.
    """
    return torch.cat([s.softmax(0).amax(0) for s in _stripes(logits, stride, input_size, output_size)])


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
    """Write the winning class of every pixel of `labels`; positions and weights are those of `_neighbours`."""
    classes, _, width = logits.shape
    # The two source rows around a row of pixels, position by position, and the winner at each position.
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
    """Transpose a row of logits into (w, K), and find the winner at each position."""
    winners[:] = 0
    for k in range(logits.shape[0]):
        for x in range(logits.shape[2]):
            value = logits[k, row, x]
            values[x, k] = value
            if value > values[x, winners[x]]:
                winners[x] = k


@compiled
def _mix(first: np.ndarray, second: np.ndarray, weight: float, result: np.ndarray) -> int:
    """Interpolate between two vectors of logits; returns the winner."""
    winner = 0
    for k in range(len(result)):
        result[k] = first[k] + weight * (second[k] - first[k])
        if result[k] > result[winner]:
            winner = k
    return winner


@compiled
def _winner_between(first: np.ndarray, second: np.ndarray, weight: float) -> int:
    winner, best = 0, first[0] + weight * (second[0] - first[0])
    for k in range(1, len(first)):
        value = first[k] + weight * (second[k] - first[k])
        if value > best:
            winner, best = k, value
    return winner


def _stripes(
    logits: Tensor, stride: int, input_size: tuple[int, int], output_size: tuple[int, int]
) -> Iterator[Tensor]:
    """(K, rows, W) pieces of the resized logits, from top to bottom."""
    logits = logits.float()
    top, bottom, row_weight = _neighbours(logits, stride, input_size, output_size, 0)
    left, right, column_weight = _neighbours(logits, stride, input_size, output_size, 1)
    for start in range(0, output_size[0], STRIPE_ROWS):
        rows = slice(start, start + STRIPE_ROWS)
        weight = row_weight[rows, None]
        stripe = torch.lerp(logits[:, top[rows]], logits[:, bottom[rows]], weight)
        yield torch.lerp(stripe[:, :, left], stripe[:, :, right], column_weight)


def _neighbours(
    logits: Tensor, stride: int, input_size: tuple[int, int], output_size: tuple[int, int], dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The two source positions of each output row (dim 0) or column (dim 1), and the weight of the second.

    Pixel centres lie at halves (align_corners=False): output i sits at (i + 0.5) * step - 0.5 of the source.
    """
    length, last = output_size[dim], logits.shape[1 + dim] - 1
    step = input_size[dim] / length / stride
    position = (torch.arange(length, device=logits.device, dtype=torch.float32) + 0.5) * step - 0.5
    position = position.clamp(0, last)
    first = position.floor().long()
    return first, (first + 1).clamp(max=last), position - first


def upsample_to(source: Tensor, like: Tensor) -> Tensor:
    """Bilinear resize of (N, C, h, w) to the height and width of `like`."""
    if source.shape[-2:] == like.shape[-2:]:
        return source
    return F.interpolate(source, size=like.shape[-2:], mode="bilinear", align_corners=False)
