"""Sliding-window inference: the positions of windows, and one map from their logits, a row of windows at a time.

Source: the released code of Zhao et al., Pyramid Scene Parsing Network (2017): windows overlap by a third, and their
class probabilities are averaged there.

K = classes, (h, w) = the logits of the whole image.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unified_seg.hints import format_hint

# From the rows and columns of a window, in pixels of the image, to its logits (K, r, c).
Predict = Callable[[slice, slice], Tensor]


@dataclass(frozen=True)
class SlidingWindows:
    """Square windows, evenly spread over an image.

    Args:
        size: the side of a window, pixels.
        overlap: the minimal fraction of a window that the next one overlaps, in [0, 1).
        step: windows begin and end at multiples of it, pixels. If it is the stride of the network, the logits of each
            window are aligned with those of the whole image.

    Raises:
        ValueError: `size` is smaller than `step` or no multiple of it, or `overlap` leaves no room to advance.
    """

    size: int
    overlap: float
    step: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise ValueError(f"the overlap of windows must be in [0, 1), got {self.overlap}")
        stride, use = f"the network's stride of {self.step}", f"use {self._suggest_sizes()}"
        if self.size < self.step:
            raise ValueError(f"a window of {self.size} pixels is smaller than {stride}; {use}")
        if self.size % self.step:
            raise ValueError(f"a window of {self.size} pixels is not a multiple of {stride}; {use}")
        if self._longest_advance == 0:
            less = format_hint("TEST.WINDOW.OVERLAP", 0.0)
            raise ValueError(
                f"windows of {self.size} pixels with an overlap of {self.overlap:g} cannot advance by {stride}; {use} "
                f"or less overlap, such as {less}"
            )

    def _suggest_sizes(self) -> str:
        """Return hints at the nearest sizes that are multiples of the step and can advance."""
        smallest = self.step * math.ceil((1 - 1e-9) / (1 - self.overlap))
        below = self.size - self.size % self.step
        sizes = sorted({max(below, smallest), max(below + self.step, smallest)})
        return " or ".join(format_hint("TEST.WINDOW.SIZE", size) for size in sizes)

    @property
    def _longest_advance(self) -> int:
        """The longest distance between the starts of two windows, in steps."""
        # In floating point 10 * (1 - 0.9) is slightly less than 1; the margin corrects that.
        return math.floor(self.size // self.step * (1 - self.overlap) + 1e-9)

    def starts(self, length: int) -> list[int]:
        """Return the starts of the windows along a side of `length` pixels, a multiple of the step.

        The last window ends at the end of the side. A side that is not longer than a window has one window of its own
        length.
        """
        spare = (length - self.size) // self.step
        if spare <= 0:
            return [0]
        count = math.ceil(spare / self._longest_advance)
        return [self.step * (index * spare // count) for index in range(count + 1)]


def stitch_windows(
    predict: Predict, windows: SlidingWindows, size: tuple[int, int], stride: int
) -> Iterator[tuple[int, Tensor]]:
    """Predict windows from the top left to the bottom right of an image, and stitch their logits.

    The result at each position is the logarithm of the sum of its windows' class probabilities. It differs from the
    logarithm of their mean by a constant for all classes, which changes neither argmax nor softmax. Memory holds the
    logits of one row of windows.

    Args:
        predict: called once for each window.
        windows: its `step` must be a multiple of `stride`.
        size: height and width of the image, multiples of the windows' step.
        stride: pixels per pixel of the logits.

    Yields:
        (first, rows): the rows (K, r, w) of the map from row `first` that no later window overlaps, float32. Each
        begins with the last row of the one before it, so that any two neighboring rows are in one of them. They are
        valid until the next ones.
    """
    height, width = size
    tops, lefts = windows.starts(height), windows.starts(width)
    high, wide = min(windows.size, height), min(windows.size, width)
    band = torch.empty(0)
    for top, next_top in zip(tops, [*tops[1:], height]):
        for left in lefts:
            logits = predict(slice(top, top + high), slice(left, left + wide)).float()
            if top == left == 0:
                # The first row is the last one above the windows.
                band = logits.new_full((len(logits), 1 + high // stride, width // stride), -math.inf)
            here = band[:, 1:, left // stride : (left + wide) // stride]
            torch.logaddexp(here, logits.log_softmax(0), out=here)
        finished = (next_top - top) // stride
        yield (top // stride - 1, band[:, : finished + 1]) if top else (0, band[:, 1 : finished + 1])
        remaining = band[:, finished:].clone()
        band[:, : remaining.shape[1]] = remaining
        band[:, remaining.shape[1] :] = -math.inf
