import numpy as np
from detectron2.structures.masks import polygons_to_bitmask
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.ops.polygons import draw_polygons

SIZE = (24, 32)
# Tenths are where pycocotools rounds.
coordinates = st.one_of(st.floats(-20, 50, width=32), st.integers(-200, 500).map(lambda value: value / 10))
polygons = st.lists(coordinates, min_size=6, max_size=12).map(
    lambda values: np.array(values[: len(values) // 2 * 2], dtype=np.float64).reshape(-1, 2)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(polygons, min_size=1, max_size=3))
def test_masks_are_those_of_pycocotools(drawn: list[np.ndarray]) -> None:
    top, left, mask = draw_polygons(drawn, SIZE)
    full = np.zeros(SIZE, dtype=bool)
    full[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    assert np.array_equal(full, polygons_to_bitmask([polygon.reshape(-1).tolist() for polygon in drawn], *SIZE))


def test_polygons_outside_of_the_image_have_no_pixel() -> None:
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    for drawn in ([square - 40], [square + 40], []):
        assert not draw_polygons(drawn, SIZE)[2].any()
