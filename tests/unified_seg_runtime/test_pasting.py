"""Pasting of soft masks, against the library's."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.structures.soft_masks import SoftMasks
from unified_seg_runtime.pasting import binarize, paste_levels

coordinate, side = st.floats(-5, 45, width=32), st.floats(0.25, 40, width=32)


@settings(max_examples=30, deadline=None)
@given(
    boxes=st.lists(
        st.tuples(coordinate, coordinate, st.floats(0.25, 40, width=32), st.floats(0.25, 40, width=32)), max_size=4
    ),
    seed=st.integers(0, 100),
)
def test_levels_are_those_of_the_library(boxes: list[tuple[float, ...]], seed: int) -> None:
    size = (30, 40)
    soft = torch.rand((len(boxes), 5, 5), generator=torch.Generator().manual_seed(seed))
    corners = torch.tensor([(x, y, x + w, y + h) for x, y, w, h in boxes], dtype=torch.float32).reshape(-1, 4)
    expected = SoftMasks.from_soft(soft, corners, size)
    found = paste_levels(soft.numpy(), corners.numpy(), size)
    assert np.array_equal(found.windows, expected.windows.numpy())
    for index, plane in enumerate(found.planes):
        # Sums of four products may be rounded differently.
        assert np.abs(plane.astype(int) - expected.levels(index).numpy().astype(int)).max(initial=0) <= 1


def test_masks_are_the_pixels_of_a_half_or_more() -> None:
    levels = paste_levels(
        np.array([[[0.25, 0.75]] * 2], dtype=np.float32), np.array([[0, 0, 2, 2]], np.float32), (2, 3)
    )
    assert levels.windows.tolist() == [[0, 0, 3, 2]]
    assert binarize(levels).planes[0].tolist() == [[False, True, False]] * 2
