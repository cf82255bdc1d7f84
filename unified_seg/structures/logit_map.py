"""Logits of one image at a head's stride, which are resampled to the size of the original image when they are read.

A `LogitMap` holds logits, or predicts them window by window while it is read. A `LogitEnsemble` averages the maps of
several views of the image.

K = classes, (h, w) = logits, (H, W) = output.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.ops.devices import upload
from unified_seg.ops.levels import to_levels
from unified_seg.ops.resampling import (
    Positions,
    argmax_labels,
    compute_positions,
    sample_confidence,
    sample_labels,
    sample_levels,
    sample_logits,
    sample_stripes,
)
from unified_seg.ops.windows import Predict, SlidingWindows, stitch_windows

Size = tuple[int, int]
Bands = Iterator[tuple[int, Tensor]]


class LogitSample(NamedTuple):
    """Logits at some cells, and the pixels of the output in whose middle these cells are.

    Attributes:
        logits: (K, r, c).
        rows, columns: (r,) and (c,) int64.
    """

    logits: Tensor
    rows: np.ndarray
    columns: np.ndarray


def compute_entropy(logits: Tensor) -> Tensor:
    """Return the entropy of the softmax over the first axis as a share of the largest one, log K: (K, ...) -> (...)."""
    # max(): a single class has entropy 0, and so has its maximum.
    return torch.special.entr(logits.softmax(0)).sum(0) / math.log(max(len(logits), 2))


@dataclass(frozen=True)
class LogitMap:
    """Logits of an image on the grid of the network's input.

    Attributes:
        bands: yields all logits from top to bottom as (first, rows): the rows (K, r, w) from row `first`. Each band
            begins with the last row of the band before it, and is valid until the next one.
        grid_size: (h, w).
        stride: input pixels per pixel of the logits.
        input_size: height and width of the network's input, without the padding at its right and bottom.
        mirrored: whether the network's input was the image flipped horizontally.
        held: all logits (K, h, w); None if they are predicted each time they are read.
    """

    bands: Callable[[], Bands]
    grid_size: Size
    stride: int
    input_size: Size
    mirrored: bool = False
    held: Tensor | None = None

    @classmethod
    def from_logits(cls, logits: Tensor, stride: int, input_size: Size, mirrored: bool = False) -> "LogitMap":
        """Create the map of logits (K, h, w)."""
        grid_size = (logits.shape[1], logits.shape[2])
        return cls(partial(_one_band, logits), grid_size, stride, input_size, mirrored, logits)

    @classmethod
    def from_windows(cls, predict: Predict, windows: SlidingWindows, stride: int, input_size: Size) -> "LogitMap":
        """Create a map that predicts sliding windows each time it is read, and never holds all of its logits.

        Args:
            predict, windows, stride: see `stitch_windows`, whose `size` is the input padded to whole steps.
            input_size: see the class.
        """
        height, width = (-(-side // windows.step) * windows.step for side in input_size)
        grid_size = (height // stride, width // stride)
        return cls(lambda: stitch_windows(predict, windows, (height, width), stride), grid_size, stride, input_size)

    def to_memory(self) -> "LogitMap":
        """Return the same map with all its logits in memory, so that reading it again predicts nothing."""
        logits = torch.empty(0)
        for first, rows in self.bands():
            if rows.shape[1] == self.grid_size[0]:
                logits = rows  # the band is the whole map
                break
            if first == 0:
                logits = rows.new_empty((len(rows), *self.grid_size))
            logits[:, first : first + rows.shape[1]] = rows
        return LogitMap.from_logits(logits, self.stride, self.input_size, self.mirrored)

    def labels(self, output_size: Size) -> Tensor:
        """Return the class with the largest logit: (H, W), uint8 for up to 256 classes, else int16."""
        return _join([sample_labels(*part) for part in self._parts(output_size)])

    def confidence(self, output_size: Size) -> Tensor:
        """Return the softmax probability of the class with the largest logit: (H, W) float32."""
        return _join([sample_confidence(*part) for part in self._parts(output_size)])

    def levels(self, labels: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Return how likely each pixel's label is, and how likely the label's group of classes.

        The probabilities are computed at the positions of the logits and interpolated, so there is no map of all
        classes at full size.

        Args:
            labels: (H, W) integer classes.
            groups: (K,) int64, the group of each class, from 0; on the CPU.

        Returns:
            Two maps (H, W) uint8, see `ops.levels`.
        """
        size = (labels.shape[0], labels.shape[1])
        members = upload(F.one_hot(groups).T.float(), labels.device)
        group_of = upload(groups.to(torch.int16), labels.device)
        parts: list[list[Tensor]] = [[], []]
        start = 0
        for band, rows, columns in self._parts(size):
            probabilities = band.float().softmax(0)
            chosen = labels[start : start + len(rows)]
            start += len(rows)
            sums = _sum_groups(probabilities, members)
            parts[0].append(sample_levels(probabilities, chosen, rows, columns))
            parts[1].append(sample_levels(sums, group_of[chosen.long()], rows, columns))
        return _join(parts[0]), _join(parts[1])

    def sample(self, output_size: Size, limit: int) -> LogitSample | None:
        """Return the logits of evenly spaced cells, without a new prediction.

        Args:
            output_size: (H, W).
            limit: of the number of cells.

        Returns:
            The sample; None if the logits are not held, or for a mirrored input.
        """
        if self.held is None or self.mirrored:
            return None
        seen = [min(-(-side // self.stride), cells) for side, cells in zip(self.input_size, self.grid_size)]
        # A side that is shorter than a step still has one cell.
        step = math.ceil(max(1, math.sqrt(seen[0] * seen[1] / limit), max(seen) / limit))
        starts = [min(step // 2, (cells - 1) // 2) for cells in seen]
        rows, columns = (np.arange(start, cells, step) for start, cells in zip(starts, seen))
        pixels = [
            np.minimum((cells + 0.5) * self.stride * length / side, length - 1).astype(np.int64)
            for cells, length, side in zip((rows, columns), output_size, self.input_size)
        ]
        return LogitSample(self.held[:, starts[0] : seen[0] : step, starts[1] : seen[1] : step], *pixels)

    def find_cell(self, output_size: Size) -> float:
        """Return the side of a cell of the logits in pixels of the output."""
        scale = output_size[0] * output_size[1] / (self.input_size[0] * self.input_size[1])
        return self.stride * math.sqrt(scale)

    def entropy(self, output_size: Size) -> Tensor:
        """Return the entropy of the softmax as a fraction of the maximum, log K: (H, W) float32 in [0, 1]."""
        return _join([compute_entropy(stripe) for stripe in self.stripes(output_size)])

    def probability(self, output_size: Size) -> Tensor:
        """Return the sigmoid of a map with K = 1: (H, W) float32.

        Raises:
            ValueError: K is not 1.
        """
        logits = self.logits(output_size)
        if len(logits) != 1:
            raise ValueError(f"a single probability needs a map of one logit per pixel, got {len(logits)}")
        return logits[0].sigmoid()

    def logits(self, output_size: Size) -> Tensor:
        """Return the resampled logits: (K, H, W) float32."""
        return _join([sample_logits(*part) for part in self._parts(output_size)], dim=1)

    def stripes(self, output_size: Size) -> Iterator[Tensor]:
        """Yield `logits` from top to bottom in stripes (K, rows, W), whose heights depend on K and W only."""
        for part in self.to_memory()._parts(output_size):
            yield from sample_stripes(*part)

    def _parts(self, output_size: Size) -> Iterator[tuple[Tensor, Positions, Positions]]:
        """Yield each band with the positions of the output's rows and columns that can be interpolated in it."""
        rows, columns = (
            compute_positions(length, seen, self.stride, cells)
            for length, seen, cells in zip(output_size, self.input_size, self.grid_size)
        )
        columns = columns.flip() if self.mirrored else columns
        start = 0
        for first, band in self.bands():
            stop = int((rows.second < first + band.shape[1]).sum())
            if stop > start:
                yield band, rows.select(slice(start, stop), first), columns
            start = stop


class LogitEnsemble:
    """The mean class probabilities of several views of one image.

    Args:
        members: at least one map; their logits are kept in memory, and resampled a few rows at a time.
    """

    def __init__(self, members: Sequence[LogitMap]):
        self.members = [member.to_memory() for member in members]

    def to_memory(self) -> "LogitEnsemble":
        """See `LogitMap.to_memory`."""
        return self

    def labels(self, output_size: Size) -> Tensor:
        """See `LogitMap.labels`."""
        return torch.cat([argmax_labels(mean) for mean in self._means(output_size)])

    def levels(self, labels: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """See `LogitMap.levels`; here the probabilities are those of each pixel."""
        members = upload(F.one_hot(groups).T.float(), labels.device)
        group_of = upload(groups, labels.device)
        parts: list[list[Tensor]] = [[], []]
        start = 0
        for mean in self._means((labels.shape[0], labels.shape[1])):
            chosen = labels[start : start + mean.shape[1]].long()
            start += mean.shape[1]
            sums = _sum_groups(mean, members)
            for part, planes, choice in zip(parts, (mean, sums), (chosen, group_of[chosen])):
                part.append(to_levels(planes.gather(0, choice[None])[0]))
        return torch.cat(parts[0]), torch.cat(parts[1])

    def find_cell(self, output_size: Size) -> float:
        """See `LogitMap.find_cell`; that of the finest view."""
        return min(member.find_cell(output_size) for member in self.members)

    def logits(self, output_size: Size) -> Tensor:
        """Return the logarithm of the mean probabilities, finite: (K, H, W) float32."""
        tiny = torch.finfo(torch.float32).tiny
        return torch.cat([mean.clamp_(min=tiny).log_() for mean in self._means(output_size)], dim=1)

    def _means(self, output_size: Size) -> Iterator[Tensor]:
        first, *others = (member.stripes(output_size) for member in self.members)
        for stripe in first:
            mean = stripe.softmax(0)
            for other in others:
                mean += next(other).softmax(0)
            yield mean.div_(len(self.members))


def _sum_groups(probabilities: Tensor, members: Tensor) -> Tensor:
    """Return the probabilities (G, H, W) of groups of classes, of (K, H, W) and the members (G, K), 0 or 1."""
    return (members @ probabilities.flatten(1)).view(-1, *probabilities.shape[1:])


def _one_band(logits: Tensor) -> Bands:
    return iter([(0, logits)])


def _join(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=dim)
