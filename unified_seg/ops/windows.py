"""Sliding windows: where they lie on an image, and how their logits become one map, a row of windows at a time.

Source: the released code of Zhao et al., Pyramid Scene Parsing Network, whose windows overlap by a third and average
their class probabilities there.

K = classes, (h, w) = the logits of the whole image.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# The logits (K, r, c) of a window, given by its rows and columns in pixels of the image.
Predict = Callable[[slice, slice], Tensor]


@dataclass(frozen=True)
class SlidingWindows:
    """Square windows, evenly spread over an image.

    Args:
        size: their side, pixels.
        overlap: at least this share of a window is covered by the next one too; 0 <= overlap < 1.
        step: windows begin and end at multiples of it, pixels; where the network divides its input by it, each
            window's logits lie on the grid of the whole image's.

    Raises:
        ValueError: a window smaller than the step or no multiple of it, or that overlaps too much to get on.
    """

    size: int
    overlap: float
    step: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise ValueError(f"the overlap of windows must be 0 to 1, without 1, got {self.overlap}")
        if self.size < self.step:
            raise ValueError(
                f"a window of {self.size} pixels is smaller than the network's stride; the smallest has {self.step}"
            )
        if self.size % self.step:
            below = self.size - self.size % self.step
            raise ValueError(
                f"a window of {self.size} pixels is no multiple of the network's stride of {self.step}; the nearest "
                f"are {below} and {below + self.step}"
            )
        if self._longest_advance == 0:
            raise ValueError(
                f"windows of {self.size} pixels that overlap by {self.overlap:g} can't get on in steps of {self.step}: "
                "make them larger, or their overlap smaller"
            )

    @property
    def _longest_advance(self) -> int:
        """From one window to the next, in steps."""
        # 10 * (1 - 0.9) is a little less than 1 in binary: the margin keeps that step.
        return math.floor(self.size // self.step * (1 - self.overlap) + 1e-9)

    def starts(self, length: int) -> list[int]:
        """Where windows begin along a side of `length` pixels, a multiple of the step; the last one ends at its end.

        A side that is no longer than a window has one, of the side's own length.
        """
        spare = (length - self.size) // self.step
        if spare <= 0:
            return [0]
        count = math.ceil(spare / self._longest_advance)
        return [self.step * (index * spare // count) for index in range(count + 1)]


def stitch_windows(
    predict: Predict, windows: SlidingWindows, size: tuple[int, int], stride: int
) -> Iterator[tuple[int, Tensor]]:
    """Run windows over an image, from the top left to the bottom right, and join what they say.

    Each position gets the logarithm of the sum of its windows' class probabilities: up to a constant for all classes,
    which changes neither argmax nor softmax, the logarithm of their mean. In use at any time are one row of windows
    and what a single window needs.

    Args:
        predict: called once for each window.
        windows: their `step` is a multiple of `stride`.
        size: height and width of the image, multiples of the windows' step.
        stride: pixels per pixel of the logits.

    Yields:
        (first, rows): the rows (K, r, w) of the map from `first` on that no later window reaches, float32. Each begins
        with the last row of the one before, so that any two neighboring rows are in one. Valid until the next.
    """
    height, width = size
    tops, lefts = windows.starts(height), windows.starts(width)
    high, wide = min(windows.size, height), min(windows.size, width)
    band = torch.empty(0)
    for top, next_top in zip(tops, [*tops[1:], height]):
        for left in lefts:
            logits = predict(slice(top, top + high), slice(left, left + wide)).float()
            if top == left == 0:
                # The row above the windows comes first.
                band = logits.new_full((len(logits), 1 + high // stride, width // stride), -math.inf)
            here = band[:, 1:, left // stride : (left + wide) // stride]
            torch.logaddexp(here, logits.log_softmax(0), out=here)
        done = (next_top - top) // stride
        yield (top // stride - 1, band[:, : done + 1]) if top else (0, band[:, 1 : done + 1])
        begun = band[:, done:].clone()
        band[:, : begun.shape[1]] = begun
        band[:, begun.shape[1] :] = -math.inf
