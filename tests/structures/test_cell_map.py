from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.structures.cell_map import CellMap

SIDES = st.integers(1, 40)


def numbered(stride: int, input_size: tuple[int, int]) -> CellMap:
    """Return a map whose cells all differ."""
    height, width = (-(-side // stride) for side in input_size)
    return CellMap(torch.arange(height * width).view(height, width), stride, input_size)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([1, 2, 3, 8, 32]), st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES))
def test_pixel_has_the_value_of_the_cell_at_its_center(
    stride: int, input_size: tuple[int, int], output_size: tuple[int, int]
) -> None:
    cells = numbered(stride, input_size)
    read = cells.read(output_size)
    assert read.shape == output_size
    for y in range(output_size[0]):
        for x in range(output_size[1]):
            row, column = (
                int(Fraction(2 * i + 1, 2) / length * seen / stride)
                for i, length, seen in zip((y, x), output_size, input_size)
            )
            assert read[y, x] == cells.values[row, column]


def test_read_by_hand() -> None:
    # An input of 3 x 5 pixels has 2 x 3 cells of stride 2, of which the last are cut. At twice the size a whole cell is
    # 4 pixels wide and a cut one 2.
    read = numbered(2, (3, 5)).read((6, 10))
    assert read.tolist() == [[0] * 4 + [1] * 4 + [2] * 2] * 4 + [[3] * 4 + [4] * 4 + [5] * 2] * 2
    # In two pixels of a row the centers are at 1.25 and 3.75 of 5 pixels: cells 0 and 1; of the column at 1.5: cell 0.
    assert numbered(2, (3, 5)).read((1, 2)).tolist() == [[0, 1]]


def test_values_keep_their_type() -> None:
    for dtype in (torch.uint8, torch.int16, torch.float32):
        assert CellMap(torch.ones(2, 3, dtype=dtype), 4, (8, 12)).read((5, 5)).dtype == dtype


def test_from_padded_drops_cells_of_padding() -> None:
    padded = torch.arange(32).view(4, 8)
    cells = CellMap.from_padded(padded, 8, (17, 33))  # 3 x 5 cells hold a pixel
    assert torch.equal(cells.values, padded[:3, :5])
    assert set(cells.read((100, 100)).unique().tolist()) == set(padded[:3, :5].flatten().tolist())


@pytest.mark.parametrize("shape", [(4, 8), (2, 5), (5, 3)])
def test_wrong_number_of_cells_is_an_error(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"values: expected \(3, 5\) cells .*\(17, 33\)"):
        CellMap(torch.zeros(shape), 8, (17, 33))
