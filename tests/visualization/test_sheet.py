import numpy as np
import pytest

from unified_seg.visualization.canvas import BACKGROUND
from unified_seg.visualization.sheet import (
    Picture,
    add_caption,
    draw_legend,
    draw_text_strip,
    make_grid,
    stack_pictures,
)


def plain(height, width, value):
    return np.full((height, width, 3), value, np.uint8)


def test_grid_places_pictures_by_rows():
    # Cells are as large as their column and row need, 4 pixels apart: columns 20 and 30 wide, rows 10 and 5 high.
    pictures = [plain(10, 20, 1), plain(8, 30, 2), plain(5, 12, 3)]
    sheet = make_grid(pictures, 2)
    assert sheet.shape == (10 + 4 + 5, 20 + 4 + 30, 3)
    assert (sheet[:10, :20] == 1).all()
    assert (sheet[:8, 24:] == 2).all()
    assert (sheet[14:, :12] == 3).all()
    assert (sheet[8:10, 24:] == BACKGROUND).all()


def test_grid_without_pictures_is_an_error():
    with pytest.raises(ValueError, match="0 pictures"):
        make_grid([], 2)


def test_caption_is_above_the_picture():
    picture = add_caption(Picture(plain(30, 300, 7), "price $5 of $6"))
    assert picture.shape == (52, 300, 3)
    assert (picture[22:] == 7).all()
    assert picture[:22].max() > 180  # letters


def test_narrow_picture_is_widened_for_its_caption():
    picture = add_caption(Picture(plain(30, 10, 7), "narrow"))
    assert picture.shape == (52, 160, 3)
    assert (picture[22:, 75:85] == 7).all()


def test_long_caption_is_shortened():
    strip = draw_text_strip("a long caption " * 30, 200)
    assert strip.shape == (22, 200, 3)
    assert (strip[:, -3:] == BACKGROUND).all()


def test_legend_has_every_color():
    entries = [("road", (128, 64, 128)), ("a $ class", (1, 2, 3)), ("sky", (70, 130, 180))]
    narrow, wide = draw_legend(entries, 120), draw_legend(entries, 600)
    assert narrow.shape[0] > wide.shape[0]
    for _, color in entries:
        for legend in (narrow, wide):
            assert (legend == color).all(axis=2).sum() > 100


def test_names_of_a_legend_stay_in_their_column():
    blue = (0, 0, 255)
    legend = draw_legend([("W" * 20, (255, 0, 0)), ("W" * 20, blue)], 800)
    left = np.flatnonzero((legend == blue).all(axis=2).any(axis=0))[0]
    assert (legend[:, left - 6 : left - 2] == BACKGROUND).all()


def test_legend_without_entries_has_no_rows():
    assert draw_legend([], 100).shape == (0, 100, 3)


def test_stack_has_captions_and_no_empty_pictures():
    sheet = stack_pictures([Picture(plain(10, 200, 1), "first"), plain(0, 200, 0), plain(10, 200, 2)])
    assert sheet.shape == (32 + 4 + 10, 200, 3)
