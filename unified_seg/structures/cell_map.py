"""A map of square cells over one image, which can be read at any size without interpolation.

(h, w) = cells, (H, W) = output.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unified_seg.ops.devices import upload

Size = tuple[int, int]


@dataclass(frozen=True)
class CellMap:
    """One value for each cell of an image.

    Attributes:
        values: (h, w), any type: the cells that contain a pixel of the image.
        stride: the side of a cell, in pixels of the network's input.
        input_size: height and width of the network's input, without padding.

    Raises:
        ValueError: `values` has another shape than the cells of this input.
    """

    values: Tensor
    stride: int
    input_size: Size

    def __post_init__(self) -> None:
        expected = tuple(-(-side // self.stride) for side in self.input_size)
        if tuple(self.values.shape) != expected:
            raise ValueError(
                f"values: expected {expected} cells of stride {self.stride} for an input of {tuple(self.input_size)} "
                f"pixels, got {tuple(self.values.shape)}"
            )

    @classmethod
    def from_padded(cls, values: Tensor, stride: int, input_size: Size) -> "CellMap":
        """Create the map of an input that was padded at its right and bottom, without the cells of padding alone."""
        height, width = (-(-side // stride) for side in input_size)
        return cls(values[:height, :width], stride, input_size)

    def cell_indices(self, output_size: Size) -> tuple[Tensor, Tensor]:
        """Return the row of cells of each output row (H,) int64, and the column of cells of each column (W,)."""
        rows, columns = (
            upload(_find_cells(length, seen, self.stride), self.values.device)
            for length, seen in zip(output_size, self.input_size)
        )
        return rows, columns

    def read(self, output_size: Size) -> Tensor:
        """Return the value of the cell that contains the center of each pixel: (H, W)."""
        rows, columns = self.cell_indices(output_size)
        # Columns first, so that most of the work is copying whole rows.
        return self.values.index_select(1, columns).index_select(0, rows)


def _find_cells(length: int, input_length: int, stride: int) -> Tensor:
    """Return (length,) the cells that contain (i + 0.5) / length of the input, in exact integer arithmetic."""
    return (2 * torch.arange(length) + 1) * input_length // (2 * length * stride)
