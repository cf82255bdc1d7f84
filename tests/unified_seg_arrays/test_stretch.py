"""The contrast of an image, stretched to its own percentiles."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from unified_seg_arrays.stretch import stretch_contrast

PERCENTILES = st.tuples(st.floats(0, 100), st.floats(0, 100)).filter(lambda pair: pair[0] < pair[1])
SHAPES = array_shapes(min_dims=3, max_dims=3, max_side=6)
INTEGERS = st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]).flatmap(
    lambda dtype: arrays(dtype, SHAPES, elements=st.integers(0, 255))
)
FLOATS = arrays(np.float32, SHAPES, elements=st.sampled_from([-1.5, 0.0, 0.25, 0.3, 7.0, np.nan, np.inf, -np.inf]))


def test_values_between_the_percentiles_are_stretched_in_equal_steps() -> None:
    # Of 11 pixels the ranks are 0 to 10: the 10th percentile is rank 1, value 20; the 90th rank 9, value 70. Between
    # them a step of 10 becomes 51: (30 - 20) / 50 * 255.
    image = np.array([0, 20, 20, 30, 40, 50, 60, 60, 70, 70, 200], dtype=np.uint8).reshape(1, 11, 1)
    found = stretch_contrast(image, (10, 90))
    assert found.ravel().tolist() == [0, 0, 0, 51, 102, 153, 204, 204, 255, 255, 255]


def test_a_percentile_between_two_pixels_is_the_outer_one() -> None:
    # Of 3 pixels the 25th percentile has rank 0.5, between 0 and 10, and the 75th rank 1.5, between 10 and 20.
    image = np.array([0, 10, 20], dtype=np.uint16).reshape(1, 3, 1)
    assert stretch_contrast(image, (25, 75)).ravel().tolist() == [0, 128, 255]


@given(INTEGERS | FLOATS, PERCENTILES, st.booleans())
def test_a_stretched_image_stays_as_it_is(image: np.ndarray, percentiles: tuple[float, float], each: bool) -> None:
    once = stretch_contrast(image, percentiles, by_channel=each)
    assert np.array_equal(stretch_contrast(once, percentiles, by_channel=each), once)


@given(INTEGERS | FLOATS, PERCENTILES)
def test_a_gray_image_is_stretched_alike_in_one_channel_and_in_three(
    image: np.ndarray, percentiles: tuple[float, float]
) -> None:
    gray = image[..., :1]
    expected = stretch_contrast(gray, percentiles).repeat(3, axis=2)
    assert np.array_equal(stretch_contrast(gray.repeat(3, axis=2), percentiles), expected)


@given(INTEGERS, PERCENTILES, st.integers(1, 100), st.integers(0, 1000))
def test_exposure_and_black_level_do_not_matter(
    image: np.ndarray, percentiles: tuple[float, float], gain: int, offset: int
) -> None:
    other = image.astype(np.int64) * gain + offset
    assert np.array_equal(stretch_contrast(other, percentiles), stretch_contrast(image, percentiles))


def test_colors_keep_their_proportions_and_bands_are_stretched_alone() -> None:
    image = np.array([[[10, 20], [30, 60]]], dtype=np.uint8)
    # Together from 10 to 60: 10 * 255 / 50 = 51, 20 * 255 / 50 = 102.
    assert stretch_contrast(image, (0, 100)).tolist() == [[[0, 51], [102, 255]]]
    assert stretch_contrast(image, (0, 100), by_channel=True).tolist() == [[[0, 0], [255, 255]]]


@given(INTEGERS, PERCENTILES)
def test_percentiles_are_those_of_numpy(image: np.ndarray, percentiles: tuple[float, float]) -> None:
    low = np.percentile(image[..., 0], percentiles[0], method="lower")
    high = np.percentile(image[..., 0], percentiles[1], method="higher")
    assume(low < high)
    expected = np.round((image[..., :1].astype(float) - low).clip(0, high - low) * 255 / (high - low))
    assert np.abs(stretch_contrast(image[..., :1], percentiles) - expected).max() <= 1  # 0.5 may round either way


@pytest.mark.filterwarnings("error")
def test_nan_is_the_lowest_number_and_infinity_the_highest() -> None:
    image = np.array([0.0, np.nan, 0.5, 1.0, np.inf, -np.inf], dtype=np.float32).reshape(2, 3, 1)
    assert stretch_contrast(image, (0, 100)).ravel().tolist() == [0, 0, 128, 255, 255, 0]
    assert not stretch_contrast(np.full((2, 2, 3), np.nan), (1, 99)).any()


@pytest.mark.parametrize("unit", [1, 0.001])
def test_of_equal_percentiles_only_higher_values_are_bright(unit: float) -> None:
    # Of 1,001 pixels the ranks 10 and 998 are both of value 5.
    image = unit * np.array([0, *[5] * 999, 6]).reshape(7, 143, 1)
    assert stretch_contrast(image, (1, 99.8)).ravel().tolist() == [*[0] * 1000, 255]
    assert not stretch_contrast(np.full((3, 4, 3), 77, dtype=np.uint8), (1, 99.8)).any()
