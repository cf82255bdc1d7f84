"""Contact sheets of equal tiles and of a bounded size."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from unified_seg.data.problems import WriteError
from unified_seg.reporting.contact_sheet import arrange_tiles, choose_cell, fit_into_cell, make_tile, write_jpeg
from unified_seg.visualization.canvas import BACKGROUND
from unified_seg.visualization.sheet import Picture


def test_a_picture_is_centered_in_its_cell() -> None:
    wide = fit_into_cell(np.full((10, 40, 3), 200, dtype=np.uint8), (100, 200))
    assert wide.shape == (100, 200, 3)
    assert (wide[25:75] == 200).all() and (wide[:25] == BACKGROUND).all() and (wide[75:] == BACKGROUND).all()
    assert fit_into_cell(np.zeros((4000, 3, 3), dtype=np.uint8), (100, 200)).shape == (100, 200, 3)


@pytest.mark.parametrize(("sizes", "height"), [([(64, 128)], 128), ([(9, 90)], 102), ([(90, 9)], 358)])
def test_cells_have_the_shape_of_the_images_within_limits(sizes: list[tuple[int, int]], height: int) -> None:
    assert choose_cell(sizes) == (height, 256)


def test_tiles_are_equal() -> None:
    cell = Picture(np.zeros((128, 256, 3), dtype=np.uint8), "a")
    tiles = [make_tile([cell] * number, "tile", 3) for number in (1, 3)]
    assert tiles[0].pixels.shape == tiles[1].pixels.shape == (128 + 22, 3 * 256 + 2 * 4, 3)
    assert arrange_tiles(tiles * 3).shape == (3 * (150 + 22) + 2 * 4, 2 * (3 * 256 + 2 * 4) + 4, 3)


def test_the_file_is_as_small_as_demanded(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for limit in (100_000, 20_000):
        write_jpeg(tmp_path / "sheet.jpg", noise, limit)
        assert 0.4 * limit < (tmp_path / "sheet.jpg").stat().st_size <= limit
    assert cv2.imread(str(tmp_path / "sheet.jpg")).shape[1] < 400
    with pytest.raises(WriteError):
        write_jpeg(tmp_path / "sheet.jpg" / "below.jpg", noise, 100_000)


def test_a_sheet_that_is_too_wide_for_a_jpeg_is_made_smaller(tmp_path: Path) -> None:
    write_jpeg(tmp_path / "x.jpg", np.zeros((4, 70_000, 3), np.uint8), max_bytes=1_000_000)
    assert cv2.imread(str(tmp_path / "x.jpg")).shape[:2] == (3, 52_500)
