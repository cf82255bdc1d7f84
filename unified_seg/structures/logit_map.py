"""What a semantic head says of one image, held at the head's stride and read at the size of the original image.

A map of logits, whole or made window by window while it is read; or several, of different views of the image.

K = classes, (h, w) = logits, (H, W) = the answer.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from unified_seg.ops.resampling import (
    Positions,
    argmax_labels,
    compute_positions,
    sample_confidence,
    sample_labels,
    sample_logits,
    sample_stripes,
)
from unified_seg.ops.windows import Predict, SlidingWindows, stitch_windows

Size = tuple[int, int]
Bands = Iterator[tuple[int, Tensor]]


@dataclass(frozen=True)
class LogitMap:
    """Logits of an image on the grid of the network's input.

    Attributes:
        bands: yields all logits from top to bottom as (first, rows): the rows (K, r, w) from `first` on, each band
            beginning with the last row of the one before, and valid until the next.
        grid_size: (h, w).
        stride: input pixels per pixel of the logits.
        input_size: height and width of the image as the network saw it, without the padding at its right and bottom.
        mirrored: the network saw the image mirrored, left for right.
    """

    bands: Callable[[], Bands]
    grid_size: Size
    stride: int
    input_size: Size
    mirrored: bool = False

    @classmethod
    def from_logits(cls, logits: Tensor, stride: int, input_size: Size, mirrored: bool = False) -> "LogitMap":
        """Of logits (K, h, w)."""
        grid_size = (logits.shape[1], logits.shape[2])
        return cls(partial(_one_band, logits), grid_size, stride, input_size, mirrored)

    @classmethod
    def from_windows(cls, predict: Predict, windows: SlidingWindows, stride: int, input_size: Size) -> "LogitMap":
        """Of sliding windows, which are run each time the map is read and never held all at once.

        Args: as of `stitch_windows`, which sees the image padded to whole steps.
        """
        height, width = (-(-side // windows.step) * windows.step for side in input_size)
        grid_size = (height // stride, width // stride)
        return cls(lambda: stitch_windows(predict, windows, (height, width), stride), grid_size, stride, input_size)

    def to_memory(self) -> "LogitMap":
        """The same map with all its logits in memory: for reading it more than once."""
        logits = torch.empty(0)
        for first, rows in self.bands():
            if rows.shape[1] == self.grid_size[0]:
                logits = rows  # a single band is the map
                break
            if first == 0:
                logits = rows.new_empty((len(rows), *self.grid_size))
            logits[:, first : first + rows.shape[1]] = rows
        return LogitMap.from_logits(logits, self.stride, self.input_size, self.mirrored)

    def labels(self, output_size: Size) -> Tensor:
        """The winning class of every pixel: (H, W), uint8 for up to 256 classes, else int16."""
        return _join([sample_labels(*part) for part in self._parts(output_size)])

    def confidence(self, output_size: Size) -> Tensor:
        """The softmax probability of every pixel's winning class: (H, W) float32."""
        return _join([sample_confidence(*part) for part in self._parts(output_size)])

    def entropy(self, output_size: Size) -> Tensor:
        """The entropy of every pixel's softmax as a share of the largest one, log K: (H, W) float32, 0 to 1."""
        # Of a single class there is nothing to be unsure of.
        parts = [
            torch.special.entr(stripe.softmax(0)).sum(0) / math.log(max(len(stripe), 2))
            for stripe in self.stripes(output_size)
        ]
        return _join(parts)

    def probability(self, output_size: Size) -> Tensor:
        """Of a map of one logit, K = 1, the sigmoid at every pixel: (H, W) float32; ValueError of another map."""
        logits = self.logits(output_size)
        if len(logits) != 1:
            raise ValueError(f"a map of {len(logits)} logits a pixel has no single probability")
        return logits[0].sigmoid()

    def logits(self, output_size: Size) -> Tensor:
        """(K, H, W) float32."""
        return _join([sample_logits(*part) for part in self._parts(output_size)], dim=1)

    def stripes(self, output_size: Size) -> Iterator[Tensor]:
        """`logits` in pieces (K, rows, W) from top to bottom; where they end depends on K and the output alone."""
        for part in self.to_memory()._parts(output_size):
            yield from sample_stripes(*part)

    def _parts(self, output_size: Size) -> Iterator[tuple[Tensor, Positions, Positions]]:
        """Each band, and where the rows and columns of the answer lie that can be interpolated in it."""
        rows, columns = (
            compute_positions(length, seen, self.stride, cells)
            for length, seen, cells in zip(output_size, self.input_size, self.grid_size)
        )
        columns = columns.mirrored() if self.mirrored else columns
        done = 0
        for first, band in self.bands():
            ready = int((rows.second < first + band.shape[1]).sum())
            if ready > done:
                yield band, rows.part(slice(done, ready), first), columns
            done = ready


class LogitEnsemble:
    """Several views of one image, each with a map of its own: at each pixel the mean of their class probabilities.

    Args:
        members: at least one; their logits are kept, and read a few rows at a time.
    """

    def __init__(self, members: Sequence[LogitMap]):
        self.members = [member.to_memory() for member in members]

    def to_memory(self) -> "LogitEnsemble":
        return self

    def labels(self, output_size: Size) -> Tensor:
        """As of LogitMap."""
        return torch.cat([argmax_labels(mean) for mean in self._means(output_size)])

    def confidence(self, output_size: Size) -> Tensor:
        """As of LogitMap."""
        return torch.cat([mean.amax(0) for mean in self._means(output_size)])

    def logits(self, output_size: Size) -> Tensor:
        """(K, H, W) float32: the logarithm of the mean probabilities, finite."""
        tiny = torch.finfo(torch.float32).tiny
        return torch.cat([mean.clamp_(min=tiny).log_() for mean in self._means(output_size)], dim=1)

    def _means(self, output_size: Size) -> Iterator[Tensor]:
        first, *others = (member.stripes(output_size) for member in self.members)
        for stripe in first:
            mean = stripe.softmax(0)
            for other in others:
                mean += next(other).softmax(0)
            yield mean.div_(len(self.members))


def _one_band(logits: Tensor) -> Bands:
    return iter([(0, logits)])


def _join(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=dim)
