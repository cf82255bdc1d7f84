from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as mask_util

from unified_seg.data.coco.masks import convert_to_rle
from unified_seg.data.conversion.labelme_shapes import read_shapes
from unified_seg.inference.files.labelme import BACKGROUND, find_regions, make_shapes

MAPS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3))


@settings(max_examples=60, deadline=None)
@given(MAPS)
def test_the_reader_finds_the_same_masks_with_their_holes(ids: np.ndarray) -> None:
    present = [int(i) for i in np.unique(ids) if i]
    shapes = make_shapes([(str(i), ids == i, 0, 0) for i in present], tolerance=0, min_area=0)
    drawing = read_shapes(Path("a.json"), shapes, ids.shape)
    found = {d.label: mask_util.decode(convert_to_rle(d.segmentation, ids.shape, "")) for d in drawing.instances}
    assert sorted(found) == [str(i) for i in present]
    for i in present:
        assert np.array_equal(found[str(i)].astype(bool), ids == i)


def test_a_ring_around_an_island_is_written_before_its_hole_and_the_island() -> None:
    ring, island = np.zeros((2, 30, 30), dtype=bool)
    ring[2:28, 2:28], ring[8:22, 8:22] = True, False
    island[12:18, 12:18] = True
    shapes = make_shapes([("car", island[12:18, 12:18], 12, 12), ("road", ring, 0, 0)])
    assert [shape["label"] for shape in shapes] == ["road", BACKGROUND, "car"]
    assert [len(shape["points"]) for shape in shapes] == [4, 4, 4]
    assert sorted(map(tuple, shapes[2]["points"])) == [(12, 12), (12, 18), (18, 12), (18, 18)]


def test_small_parts_are_left_out_and_corners_are_few() -> None:
    rows, columns = np.mgrid[:60, :60]
    mask = (rows - 30) ** 2 + (columns - 30) ** 2 < 20**2
    mask[0, 0] = True
    (region,) = find_regions(mask, tolerance=1.0, min_area=4)
    (exact,) = find_regions(mask, min_area=4)
    assert len(region.outline) < len(exact.outline) / 3 and exact.filled_area == mask.sum() - 1
    assert len(find_regions(mask)) == 2
    assert not find_regions(np.zeros((3, 3), dtype=bool))


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1)])
def test_masks_of_a_line_become_rectangles(size: tuple[int, int]) -> None:
    (region,) = find_regions(np.ones(size, dtype=bool), top=3, left=2)
    corners = [(2, 3), (2, 3 + size[0]), (2 + size[1], 3), (2 + size[1], 3 + size[0])]
    assert sorted(map(tuple, region.outline.tolist())) == corners
