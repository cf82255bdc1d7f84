"""Bilinear resampling of logits from a head's stride to the pixels of the original image.

Detectron2 resizes twice (to the padded input, then to the original image). One resize is sharper and cheaper, and it
runs stripe by stripe, so that K full-resolution planes never have to exist.

K = classes, (h, w) = logits, (H, W) = output.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.ops.devices import upload
from unified_seg.ops.levels import to_levels
from unified_seg_arrays.resampling import ArrayPositions, find_positions, read_labels, read_levels

# Values of a stripe of resized logits: 10 MB, 64 rows of 19 classes at 2048 pixels.
STRIPE_VALUES = 64 * 19 * 2048


@dataclass(frozen=True)
class Positions:
    """`ArrayPositions` as tensors: positions of the L rows (or columns) of an output between those of the logits."""

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

    def to_arrays(self) -> ArrayPositions:
        """Return the positions, which are on the CPU, as arrays."""
        return ArrayPositions(self.first.numpy(), self.second.numpy(), self.weight.numpy())

    def to(self, device: torch.device) -> "Positions":
        return Positions(*(upload(values, device) for values in (self.first, self.second, self.weight)))


def compute_positions(length: int, input_length: int, stride: int, cells: int) -> Positions:
    """Compute the positions of the rows (or columns) of an output, see `find_positions`."""
    # Sizes are tensors while a model is traced.
    positions = find_positions(int(length), int(input_length), stride, int(cells))
    return Positions(*map(torch.from_numpy, positions))


def sample_logits(logits: Tensor, rows: Positions, columns: Positions) -> Tensor:
    """Interpolate logits (K, h, w) at H rows and W columns: (K, H, W) float32."""
    return torch.cat(list(sample_stripes(logits, rows, columns)), dim=1)


def sample_labels(logits: Tensor, rows: Positions, columns: Positions) -> Tensor:
    """Compute the class with the largest interpolated logit, see `read_labels`."""
    if logits.device.type != "cpu":
        return torch.cat([argmax_labels(stripe) for stripe in sample_stripes(logits, rows, columns)])
    return torch.from_numpy(read_labels(logits.detach().float().numpy(), rows.to_arrays(), columns.to_arrays()))


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
    """Interpolate probabilities, at each pixel those of the plane that it chooses, in 8 bits; see `read_levels`."""
    if choice.device.type == "cpu":
        levels = read_levels(planes.numpy(), choice.numpy(), rows.to_arrays(), columns.to_arrays())
        return torch.from_numpy(levels)
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


def upsample_to(source: Tensor, like: Tensor) -> Tensor:
    """Resize (N, C, h, w) bilinearly to the height and width of `like`."""
    return upsample_to_size(source, like.shape[-2:])


def upsample_to_size(source: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (N, C, h, w) bilinearly to a height and width."""
    if tuple(source.shape[-2:]) == tuple(size):
        return source
    return F.interpolate(source, size=tuple(size), mode="bilinear", align_corners=False)
