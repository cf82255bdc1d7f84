"""The levels of a pyramidal output: the street is 64 x 128 pixels, shown four times enlarged under captions of 22."""

import numpy as np
import pytest
import torch

from unified_seg.heads.pyramidal_output.panels import (
    EDGE,
    LEVEL_OPACITY,
    RESOLVED_COLOR,
    describe_levels,
    draw_levels,
    draw_pyramid,
    draw_unity,
    pick_level_colors,
)
from unified_seg.structures.cell_map import CellMap
from unified_seg.visualization.overview import draw_panels

CAPTION, GAP, SCALE = 22, 4, 4
GRAY = np.full((64, 128, 3), 100, np.uint8)
PROBABILITIES = (0.0, 0.25, 0.5, 1.0)


@pytest.fixture
def maps() -> dict[str, CellMap]:
    """Strides 32, 16 and 8, with cells of the coarsest and of the middle level; the others have the finest."""
    levels = torch.full((8, 16), 2, dtype=torch.uint8)
    levels[:4, :4] = 0
    levels[4:6, 2:4] = 1
    coarse = torch.tensor([PROBABILITIES, PROBABILITIES[::-1]])
    return {
        "levels": CellMap(levels, 8, (64, 128)),
        "unity_32": CellMap(coarse, 32, (64, 128)),
        "unity_16": CellMap(torch.full((4, 8), 0.5), 16, (64, 128)),
        "labels_32": CellMap(torch.zeros(2, 4, dtype=torch.uint8), 32, (64, 128)),
    }


def middle(picture: np.ndarray, stride: int, row: int, column: int) -> list[int]:
    """Return the color in the middle of a cell."""
    return picture[(2 * row + 1) * stride * SCALE // 2, (2 * column + 1) * stride * SCALE // 2].tolist()


def scaled(color: tuple[int, int, int], factor: float) -> list[int]:
    return [round(factor * channel) for channel in color]


def test_cells_have_the_color_of_their_level(maps: dict[str, CellMap]) -> None:
    colors = pick_level_colors(3)
    picture = draw_levels(GRAY, maps["levels"], colors)
    assert picture.shape == (64 * SCALE, 128 * SCALE, 3)
    for row, column in np.ndindex(8, 16):
        color = colors[maps["levels"].values[row, column]]
        expected = [round(LEVEL_OPACITY * channel + (1 - LEVEL_OPACITY) * 100) for channel in color]
        cell = picture[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32]
        assert (np.abs(cell.astype(int) - expected) <= 1).all()


def test_brightness_is_the_probability_of_unity(maps: dict[str, CellMap]) -> None:
    color = (10, 200, 90)
    picture = draw_unity(GRAY, maps["unity_32"], maps["levels"], 0, color)
    assert picture.shape == (64 * SCALE, 128 * SCALE, 3)
    for column, probability in enumerate(PROBABILITIES):
        for row, at in ((0, column), (1, 3 - column)):
            assert middle(picture, 32, row, at) == scaled(color, probability)


def test_adjacent_cells_of_one_value_have_dark_edges(maps: dict[str, CellMap]) -> None:
    maps["unity_32"].values[:] = 1
    picture = draw_unity(GRAY, maps["unity_32"], maps["levels"], 0, (200, 200, 200))
    dark = (picture < 200).all(axis=2)
    # The first row of the lower cells, and the first column of all but the leftmost.
    assert np.flatnonzero(dark.all(axis=1)).tolist() == [32 * SCALE]
    assert np.flatnonzero(dark.all(axis=0)).tolist() == [32 * SCALE * i for i in (1, 2, 3)]
    assert picture[32 * SCALE, 5].tolist() == scaled((200, 200, 200), EDGE)


def test_cells_resolved_by_a_coarser_level_are_gray(maps: dict[str, CellMap]) -> None:
    color = (0, 255, 0)
    picture = draw_unity(GRAY, maps["unity_16"], maps["levels"], 1, color)
    for row, column in np.ndindex(4, 8):
        resolved = row < 2 and column < 2  # below the assigned coarse cell; this level itself is assigned further down
        assert middle(picture, 16, row, column) == scaled(RESOLVED_COLOR if resolved else color, 0.5)


def test_sheet_has_all_levels_above_a_legend(maps: dict[str, CellMap]) -> None:
    # Three panels (levels, 32, 16) in two rows of two, above a legend of one row: three levels, and the resolved cells.
    picture = draw_pyramid(GRAY, maps, 2)
    panel = CAPTION + 64 * SCALE
    assert picture.shape == (2 * panel + GAP + GAP + (22 + 4), 2 * 512 + GAP, 3)
    unity = draw_unity(GRAY, maps["unity_32"], maps["levels"], 0, pick_level_colors(3)[0])
    assert np.array_equal(picture[CAPTION:panel, 512 + GAP :], unity)
    legend = picture[-26:]
    for color in (*pick_level_colors(3), RESOLVED_COLOR):
        assert (legend == color).all(axis=2).sum() > 100


def test_caption_has_the_share_of_each_level(maps: dict[str, CellMap]) -> None:
    # Of 8 x 16 cells 16 are coarse, 4 in the middle: 12.5 % (rounded to even) and 3 %.
    assert describe_levels(GRAY, maps["levels"], [32, 16, 8]).endswith("32: 12 %, 16: 3 %, 8: 84 %")


def test_sheet_is_below_the_panels_of_the_outputs(image, compact, fused, maps, metadata) -> None:
    for outputs, columns in ((compact, 2), (fused, 3)):
        plain = draw_panels(image, outputs, metadata, legend="none")
        pyramid = draw_pyramid(image, maps, columns)
        both = draw_panels(image, {**outputs, "semantic_maps": maps}, metadata, legend="none")
        assert np.array_equal(both[: len(plain)], plain)
        assert np.array_equal(both[len(plain) + GAP :, : pyramid.shape[1]], pyramid)


def test_pictures_of_a_video_have_one_size(image, compact, maps, metadata) -> None:
    outputs = {**compact, "semantic_maps": maps}
    first = draw_panels(image, outputs, metadata, legend="all")
    maps["levels"].values[:] = 2
    outputs["sem_seg_labels"] = torch.zeros(64, 128, dtype=torch.uint8)
    assert draw_panels(image, outputs, metadata, legend="all").shape == first.shape


def test_maps_without_levels_are_not_drawn(image, compact, maps, metadata) -> None:
    del maps["levels"]
    outputs = {**compact, "semantic_maps": maps}
    assert np.array_equal(draw_panels(image, outputs, metadata), draw_panels(image, compact, metadata))


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 2), (33, 65)])
def test_any_size_is_drawn(size: tuple[int, int]) -> None:
    """The network's input has yet another size."""
    maps = {
        "levels": CellMap(torch.zeros(2, 3, dtype=torch.uint8), 4, (7, 9)),
        "unity_8": CellMap(torch.rand(1, 2), 8, (7, 9)),
    }
    picture = draw_pyramid(np.zeros((*size, 3), np.uint8), maps, 2)
    assert picture.dtype == np.uint8 and max(picture.shape) < 3000


@pytest.mark.parametrize("number", [2, 3, 4, 7])
def test_level_colors_are_bright_and_different(number: int) -> None:
    colors = pick_level_colors(number)
    assert colors[0][2] == colors[-1][0] == 255  # blue, red
    assert len(set(colors)) == number and all(max(color) == 255 for color in colors)
