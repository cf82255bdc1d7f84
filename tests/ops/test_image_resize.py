import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unified_seg.ops.image_resize import compute_weights, find_nearest, resize_image

lengths = st.integers(1, 60)


@settings(max_examples=100, deadline=None)
@given(lengths, lengths, lengths, st.integers(0, 60), st.sampled_from([(), (1,), (3,), (4,)]), st.data())
def test_a_window_is_that_of_pillow_s_result(
    height: int, width: int, new_width: int, more: int, channels: tuple[int, ...], data: st.DataObject
) -> None:
    new_height = height + more
    image = np.random.default_rng(0).integers(0, 256, (height, width, *channels)).astype(np.uint8)
    top, left = data.draw(st.integers(0, new_height - 1)), data.draw(st.integers(0, new_width - 1))
    bottom, right = data.draw(st.integers(top + 1, new_height)), data.draw(st.integers(left + 1, new_width))
    rows = compute_weights(height, new_height, (top, bottom))
    columns = compute_weights(width, new_width, (left, right))
    bands = np.moveaxis(image, 2, 0) if channels else [image]
    resized = [Image.fromarray(band).resize((new_width, new_height), Image.Resampling.BILINEAR) for band in bands]
    expected = np.stack([np.asarray(band)[top:bottom, left:right] for band in resized], axis=-1)
    assert np.array_equal(resize_image(image, rows, columns).reshape(expected.shape), expected)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
def test_nearest_pixels_are_those_of_pillow(length: int, new_length: int) -> None:
    line = Image.fromarray(np.arange(length, dtype=np.int32)[None])
    expected = np.asarray(line.resize((new_length, 1), Image.Resampling.NEAREST))[0]
    assert np.array_equal(find_nearest(length, new_length, (0, new_length)), expected)
    assert np.array_equal(find_nearest(length, new_length, (new_length // 2, new_length)), expected[new_length // 2 :])


def test_weights_by_hand() -> None:
    # Twice as long: the centers of the outputs lie at 0.25, 0.75, 1.25 ... of the inputs.
    weights = compute_weights(3, 6, (1, 5))
    one = 1 << 22
    assert (weights.values / one).tolist() == [[0.75, 0.25], [0.25, 0.75], [0.75, 0.25], [0.25, 0.75]]
    assert weights.starts.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("size", [(1, 1), (1, 7)])
def test_equal_sizes_change_nothing(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    weights = [compute_weights(length, length, (0, length)) for length in size]
    assert np.array_equal(resize_image(image, *weights), image)
