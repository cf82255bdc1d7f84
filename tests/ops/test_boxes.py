import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unified_seg.ops.boxes import find_paste_windows, find_tight_box
from unified_seg.ops.id_maps import measure_segments


@settings(deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 6))))
def test_tight_box_spans_first_to_last_pixel(mask: np.ndarray) -> None:
    x0, y0, x1, y1 = find_tight_box(torch.from_numpy(mask))
    rows, columns = mask.nonzero()
    expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if mask.any() else (0, 0, 0, 0)
    assert (x0, y0, x1, y1) == expected
    assert measure_segments(mask, [0, 1])[1].tolist() == [mask.sum(), y0, y1, x0, x1]


def test_paste_windows_are_a_pixel_wider_inside_the_image() -> None:
    # Columns 1.5 to 3.5 are in the pixels 1 to 3, rows 2.2 to 5.0 in 2 to 4; the second box covers the image.
    boxes = torch.tensor([[1.5, 2.2, 3.5, 5.0], [-9.0, -9.0, 99.0, 99.0]])
    assert find_paste_windows(boxes, (8, 10)).tolist() == [[0, 1, 5, 6], [0, 0, 10, 8]]
