"""A map of square cells over one image, read at any size without mixing cells.

(h, w) = cells, (H, W) = the answer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

Size = tuple[int, int]


@dataclass(frozen=True)
class CellMap:
    """One value for each cell of an image.

    Attributes:
        values: (h, w), any type: the cells that hold a pixel of the image.
        stride: the side of a cell, pixels of the network's input.
        input_size: height and width of the image as the network saw it, without padding.

    Raises:
        ValueError: other cells than an image of this size has.
    """

    values: Tensor
    stride: int
    input_size: Size

    def __post_init__(self) -> None:
        expected = tuple(-(-side // self.stride) for side in self.input_size)
        if tuple(self.values.shape) != expected:
            raise ValueError(
                f"an image of {tuple(self.input_size)} pixels has {expected} cells of stride {self.stride}, "
                f"got {tuple(self.values.shape)}"
            )

    @classmethod
    def from_padded(cls, values: Tensor, stride: int, input_size: Size) -> "CellMap":
        """Of an image padded at its right and bottom: cells that hold nothing but padding are dropped."""
        height, width = (-(-side // stride) for side in input_size)
        return cls(values[:height, :width], stride, input_size)

    def cell_indices(self, output_size: Size) -> tuple[Tensor, Tensor]:
        """The row of cells of every row of the answer (H,) int64, and the column of every column (W,)."""
        rows, columns = (
            _cell_of(length, seen, self.stride).to(self.values.device)
            for length, seen in zip(output_size, self.input_size)
        )
        return rows, columns

    def read(self, output_size: Size) -> Tensor:
        """(H, W): the value of the one cell in which the center of each pixel lies."""
        rows, columns = self.cell_indices(output_size)
        # Columns first: the larger part of the work is then copying whole rows.
        return self.values.index_select(1, columns).index_select(0, rows)


def _cell_of(length: int, input_length: int, stride: int) -> Tensor:
    """(length,) the cells of pixels whose centers lie at (i + 0.5) / length of the image, in whole numbers."""
    return (2 * torch.arange(length) + 1) * input_length // (2 * length * stride)
