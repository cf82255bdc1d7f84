from pathlib import Path

import numpy as np
import pytest

from unified_seg.data.problems import WriteError
from unified_seg.visualization.canvas import PaintedSegment, compute_enlargement, draw_segments, write_picture


def test_opaque_segments_have_their_color_at_every_pixel():
    # Two vertical stripes of one pixel each, which polygons through pixel centers would lose.
    ids = np.zeros((3, 512), np.int32)
    ids[:, 7], ids[:, 9] = 1, 2
    segments = [
        PaintedSegment(1, (10, 200, 30), "", is_thing=False),
        PaintedSegment(2, (250, 0, 5), "", is_thing=False),
    ]
    picture = draw_segments(np.full((3, 512, 3), 77, np.uint8), ids, segments, opacity=1.0, hatch_void=True)
    top = (picture.shape[0] - 3) // 2
    assert (picture[top : top + 3, 7] == (10, 200, 30)).all()
    assert (picture[top : top + 3, 9] == (250, 0, 5)).all()
    assert np.isin(picture[top : top + 3, 8], (0, 70)).all()  # void: black or a gray stripe


def test_boxes_are_at_their_place_in_a_padded_image():
    # The row of the image is the 32nd of 64 rows of the canvas.
    image, ids = np.zeros((1, 700, 3), np.uint8), np.zeros((1, 700), np.int32)
    box = PaintedSegment(1, (200, 0, 0), "", is_thing=True, box=(100, 0, 200, 1))
    pictures = [draw_segments(image, ids, s, opacity=1, hatch_void=False) for s in ([], [box])]
    rows, columns = np.nonzero((pictures[0] != pictures[1]).any(axis=2))
    assert 27 <= rows.min() <= 31 <= rows.max() <= 36
    assert 95 <= columns.min() <= 100 and 199 <= columns.max() <= 205


def test_enlargement_reaches_the_panel_width():
    assert compute_enlargement(128, 256) == 2
    assert compute_enlargement(100, 300) == 2  # 600 pixels: the first whole factor that reaches 480
    assert compute_enlargement(360, 480) == compute_enlargement(1024, 2048) == 1
    assert compute_enlargement(5000, 1) == 1  # 480 would make it 2,400,000 pixels high


def test_pictures_that_are_too_large_for_their_format_are_named(tmp_path: Path):
    with pytest.raises(WriteError, match=r"x\.jpg can't be written: OpenCV can't write 1x70000 pixels as \.jpg"):
        write_picture(tmp_path / "x.jpg", np.zeros((1, 70_000, 3), np.uint8))
    assert not (tmp_path / "x.jpg").exists()
