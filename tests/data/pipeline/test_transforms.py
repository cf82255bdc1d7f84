from typing import Any

import cv2
import numpy as np
import pytest
from detectron2.data import transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as mask_util

from unified_seg.data.pipeline.resize import RandomResizeCrop, RandomScale, Resize, ResizeCrop, ResizeShortestEdge
from unified_seg.data.pipeline.transforms import (
    CROP_DRAWS,
    VOID,
    Crop,
    GaussianBlur,
    Pad,
    PadToSize,
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomRotation,
    RandomSaturation,
    Rotate,
)

FILL = (10.4, 20.0, 30.6)
FILL_BYTES = [10, 20, 31]

heights, widths = st.integers(1, 40), st.integers(1, 40)
seeds = st.integers(0, 2**31)
angles = st.floats(-180, 180)


def image_of(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


def label_of(height: int, width: int, seed: int, classes: int = 255) -> np.ndarray:
    """Classes from 1 on, no void."""
    return np.random.default_rng(seed).integers(1, classes + 1, (height, width)).astype(np.uint8)


def sizes_drawn(scale: T.Augmentation, height: int, width: int, draws: int = 300) -> set[tuple[int, int]]:
    np.random.seed(0)
    transforms = [scale.get_transform(np.zeros((height, width, 3), dtype=np.uint8)) for _ in range(draws)]
    return {(transform.new_h, transform.new_w) for transform in transforms}


def test_scales_are_those_computed_by_hand() -> None:
    # The image's own size times 0.5, 0.75, ... 2.
    own = RandomScale((0,), 10, "choice", (0.5, 2.0), step=0.25)
    factors = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    assert sizes_drawn(own, 40, 100) == {(40 * f, 100 * f) for f in factors}
    # 40 x 100 becomes 20 x 50 by its shorter side; then times 1 and 2.
    assert sizes_drawn(RandomScale((20,), 99, "choice", (1.0, 2.0), step=1.0), 40, 100) == {(20, 50), (40, 100)}
    # The limit 25 makes of 20 x 50 first 10 x 25, and holds no more after the factor.
    assert sizes_drawn(RandomScale((20,), 25, "choice", (1.0, 2.0), step=1.0), 40, 100) == {(10, 25), (20, 50)}
    # Lengths of a range, each with each factor.
    lengths = RandomScale((4, 6), 99, "range", (0.5, 1.5), step=1.0)
    # 4, 5, 6 times 0.5 (2.5 becomes 3) and times 1.5 (7.5 becomes 8).
    assert sizes_drawn(lengths, 8, 8) == {(size, size) for size in (2, 3, 6, 8, 9)}
    # A single factor, with or without a step.
    for step in (0.0, 0.25):
        assert sizes_drawn(RandomScale((0,), 10, "choice", (1.5, 1.5), step), 40, 100) == {(60, 150)}


def test_steps_end_at_the_highest_factor() -> None:
    # 0.5 + 10 * 0.1 is 1.5, though (1.5 - 0.5) / 0.1 may fall short of 10 in binary; 1.55 is never reached.
    for high in (1.5, 1.55):
        widths = {w for _, w in sizes_drawn(RandomScale((0,), 10, "choice", (0.5, high), step=0.1), 100, 100)}
        assert widths == set(range(50, 151, 10))
    # 3 * 0.1 is a little more than 0.3.
    assert len(sizes_drawn(RandomScale((0,), 10, "choice", (0.1, 0.3), step=0.1), 100, 100)) == 3


def test_factors_are_drawn_uniformly() -> None:
    widths = np.array([w for _, w in sizes_drawn(RandomScale((0,), 10, "choice", (0.5, 2.0)), 10, 10000, draws=2000)])
    assert 5000 <= widths.min() < 5100 and 19900 < widths.max() <= 20000
    # Uniform: a third of the draws falls into each third of the range; 2000 draws have a deviation of 1 %.
    assert np.histogram(widths, 3, (5000, 20000))[0] / len(widths) == pytest.approx([1 / 3] * 3, abs=0.05)


@settings(max_examples=40, deadline=None)
@given(heights, widths, st.floats(0.01, 3), seeds)
def test_a_scaled_image_has_at_least_a_pixel(height: int, width: int, factor: float, seed: int) -> None:
    np.random.seed(seed)
    image = image_of(height, width)
    transform = RandomScale((0,), 10, "choice", (factor, factor)).get_transform(image)
    expected = (max(1, int(factor * height + 0.5)), max(1, int(factor * width + 0.5)))
    assert transform.apply_image(image).shape == (*expected, 3)
    assert transform.apply_segmentation(image[..., 0]).shape == expected


def sources(rotate: Rotate, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the points that a rotation brings to the centers of the pixels: (H * W,) each."""
    y, x = np.mgrid[:height, :width] + 0.5
    centers = np.stack([x.ravel(), y.ravel()], axis=1)
    backwards = cv2.invertAffineTransform(rotate.rm_coords)
    return tuple((centers @ backwards[:, :2].T + backwards[:, 2]).T)


@settings(max_examples=100, deadline=None)
@given(heights, widths, angles, seeds)
def test_a_rotated_point_stays_on_its_label(height: int, width: int, angle: float, seed: int) -> None:
    label = label_of(height, width, seed)
    rotate = Rotate(height, width, angle, FILL)
    found = rotate.apply_segmentation(label).ravel()
    x, y = sources(rotate, height, width)
    # OpenCV's coordinates are fractions of 1/32 or finer: points this close to another pixel may come from it.
    clear = (np.abs(x - np.round(x)) > 0.05) & (np.abs(y - np.round(y)) > 0.05)
    inside = (x > 0) & (x < width) & (y > 0) & (y < height)
    columns, rows = (np.floor(v[inside]).astype(int) for v in (x, y))
    expected = np.full(label.size, VOID)
    expected[inside] = label[rows, columns]
    assert np.array_equal(found[clear], expected[clear])


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), angles)
def test_the_image_rotates_with_its_points(height: int, width: int, angle: float) -> None:
    # Each pixel holds its own center, which bilinear interpolation gives back anywhere between the pixels.
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.stack([x, y, np.ones_like(x)], axis=-1)
    rotate = Rotate(height, width, angle, (-1.0, -2.0, -3.0))
    found = rotate.apply_image(image).reshape(-1, 3)
    source_x, source_y = sources(rotate, height, width)
    inner = (source_x > 0.55) & (source_x < width - 0.55) & (source_y > 0.55) & (source_y < height - 0.55)
    assert inner.any()
    assert np.abs(found[inner, 0] - source_x[inner]).max() < 1 / 32
    assert np.abs(found[inner, 1] - source_y[inner]).max() < 1 / 32
    outside = (source_x < -0.55) | (source_x > width + 0.55) | (source_y < -0.55) | (source_y > height + 0.55)
    assert (found[outside] == (-1, -2, -3)).all()


@pytest.mark.parametrize(("height", "width"), [(5, 8), (6, 6), (7, 7)])
def test_half_turns_and_quarter_turns_are_exact(height: int, width: int) -> None:
    image = image_of(height, width)
    half = Rotate(height, width, 180, FILL)
    assert np.array_equal(half.apply_image(image), image[::-1, ::-1])
    assert np.array_equal(half.apply_segmentation(image[..., 0]), image[::-1, ::-1, 0])
    assert half.apply_coords(np.array([[1.0, 2.0]])) == pytest.approx(np.array([[width - 1.0, height - 2.0]]))
    if height == width:
        # Counter-clockwise, as numpy turns.
        quarter = Rotate(height, width, 90, FILL)
        assert np.array_equal(quarter.apply_image(image), np.rot90(image))
        assert np.array_equal(quarter.apply_segmentation(image), np.rot90(image))


def test_new_corners_have_the_fill() -> None:
    rotate = Rotate(41, 41, 45, FILL)
    image = rotate.apply_image(np.full((41, 41, 3), 200, dtype=np.uint8))
    label = rotate.apply_segmentation(np.full((41, 41), 7, dtype=np.uint8))
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert image[corner].tolist() == FILL_BYTES
        assert label[corner] == VOID
    assert image[20, 20].tolist() == [200] * 3 and label[20, 20] == 7
    # A diamond within the square: of side 41, less what sticks out at its four tips.
    assert (label == VOID).mean() == pytest.approx(1 - (2 * np.sqrt(2) - 2), abs=0.02)


@settings(max_examples=40, deadline=None)
@given(angles, st.integers(20, 30), st.integers(20, 30), st.integers(8, 20), st.integers(8, 20))
def test_a_rotated_polygon_covers_the_rotated_mask(angle: float, x: int, y: int, width: int, height: int) -> None:
    mask = np.zeros((60, 60), dtype=np.uint8)
    mask[y : y + height, x : x + width] = 1
    polygon = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], dtype=float)
    rotate = Rotate(60, 60, angle, FILL)
    (moved,) = rotate.apply_polygons([polygon])
    drawn = mask_util.decode(mask_util.frPyObjects([moved.ravel().tolist()], 60, 60))[..., 0]
    # They may differ in the pixels that the outline runs through.
    assert (drawn != rotate.apply_segmentation(mask)).sum() <= 0.6 * 2 * (width + height)


def test_angles_have_both_signs() -> None:
    np.random.seed(0)
    rotation = RandomRotation(10.0, FILL)
    drawn = [rotation.get_transform(image_of(4, 6)).angle for _ in range(500)]
    assert -10 <= min(drawn) < -9.5 and 9.5 < max(drawn) <= 10
    assert np.mean(drawn) == pytest.approx(0, abs=1)


CROPS: list[tuple[str, list[float]]] = [
    ("absolute", [7, 9]),
    ("absolute", [7, 99]),
    ("relative", [0.5, 0.25]),
    ("relative_range", [0.4, 0.7]),
    ("absolute_range", [3, 12]),
]


@pytest.mark.parametrize(("kind", "size"), CROPS)
@settings(max_examples=20, deadline=None)
@given(st.integers(10, 40), st.integers(10, 40), st.sampled_from([0.2, 0.4, 0.6, 1.0]), st.booleans(), seeds)
def test_crops_equal_detectron2(
    kind: str, size: list[float], height: int, width: int, max_area: float, void: bool, seed: int
) -> None:
    # Bands of few classes, so that a limit often asks for another draw.
    label = np.repeat(label_of(1, width, seed, classes=4), height, axis=0)
    if void:
        label[: height // 2] = VOID
    expected: T.Augmentation = T.RandomCrop(kind, size)
    if max_area < 1:
        expected = T.RandomCrop_CategoryAreaConstraint(kind, size, max_area, ignored_category=VOID)
    inputs, windows, next_draws = [T.AugInput(image_of(height, width), sem_seg=label) for _ in range(2)], [], []
    for crop, given_input in zip((RandomCrop(kind, size, max_area), expected), inputs):
        np.random.seed(seed)
        transform = crop(given_input)
        windows.append((transform.x0, transform.y0, transform.w, transform.h))
        next_draws.append(np.random.random())
    assert windows[0] == windows[1]
    assert next_draws[0] == next_draws[1]
    assert np.array_equal(inputs[0].image, inputs[1].image)
    assert np.array_equal(inputs[0].sem_seg, inputs[1].sem_seg)


@pytest.mark.parametrize("kind", ["relative", "relative_range"])
@pytest.mark.parametrize("max_area", [0.5, 1.0])
def test_a_crop_has_at_least_a_pixel(kind: str, max_area: float) -> None:
    np.random.seed(0)
    # 0.01 of 9 pixels rounds to 0.
    for size in ((9, 9), (1, 9), (1, 1)):
        augmented = T.AugInput(image_of(*size), sem_seg=label_of(*size, seed=0))
        RandomCrop(kind, [0.01, 0.01], max_area)(augmented)
        assert min(augmented.image.shape[:2]) >= 1
        assert augmented.sem_seg.shape == augmented.image.shape[:2]


def test_a_crop_without_a_limit_needs_no_labels() -> None:
    augmented = T.AugInput(image_of(10, 12))
    RandomCrop("absolute", [4, 5])(augmented)
    assert augmented.image.shape == (4, 5, 3)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from([0.5, 0.75, 0.9]))
def test_a_crop_keeps_its_limit_or_is_the_tenth(seed: int, limit: float) -> None:
    # Two thirds of class 1, the rest of classes 2 and void.
    label = np.full((12, 30), 1, dtype=np.uint8)
    label[:, 20:] = 2
    label[8:, 10:25] = VOID
    crop = RandomCrop("absolute", [6, 6], limit)
    np.random.seed(seed)
    drawn = crop.get_transform(np.zeros((12, 30, 3), dtype=np.uint8), label)
    np.random.seed(seed)
    for _ in range(CROP_DRAWS):
        y, x = np.random.randint(12 - 6 + 1), np.random.randint(30 - 6 + 1)
        values = label[y : y + 6, x : x + 6].ravel().tolist()
        counts = [values.count(1), values.count(2)]
        if min(counts) > 0 and max(counts) < limit * sum(counts):
            break
    assert (drawn.x0, drawn.y0) == (x, y)


def test_polygons_are_cropped_with_their_masks() -> None:
    # 10 x 10 at (4, 5), of which the crop from (8, 0), 10 wide and 12 high, leaves 6 x 7.
    polygon = np.array([[4.0, 5.0], [14.0, 5.0], [14.0, 15.0], [4.0, 15.0]])
    (moved,) = Crop(8, 0, 10, 12).apply_polygons([polygon])
    drawn = mask_util.decode(mask_util.frPyObjects([moved.ravel().tolist()], 12, 10))[..., 0]
    expected = np.zeros((12, 10), dtype=np.uint8)
    expected[5:, :6] = 1
    assert np.array_equal(drawn, expected)


def clear_of_ties(first: int, count: int, size: int, new_size: int) -> np.ndarray:
    """(count,) bool: which pixels of a resized and cropped line come from well within one pixel of the line."""
    source = (first + np.arange(count) + 0.5) * size / new_size
    return np.abs(source - np.round(source)) > 1e-3


@settings(max_examples=150, deadline=None)
@given(st.data(), heights, widths, st.integers(1, 90), st.integers(1, 90), seeds)
def test_resize_crop_equals_resize_and_crop(
    data: st.DataObject, height: int, width: int, new_height: int, new_width: int, seed: int
) -> None:
    w, h = data.draw(st.integers(1, new_width)), data.draw(st.integers(1, new_height))
    x, y = data.draw(st.integers(0, new_width - w)), data.draw(st.integers(0, new_height - h))
    resize, crop = Resize(height, width, new_height, new_width), Crop(x, y, w, h)
    steps = T.TransformList([T.ResizeTransform(height, width, new_height, new_width), crop])
    at_once, exact = ResizeCrop(resize, crop, rounds_borders=True), ResizeCrop(resize, crop)
    image, label = image_of(height, width), label_of(height, width, seed)
    difference = at_once.apply_image(image).astype(int) - steps.apply_image(image)
    assert difference.shape == (h, w, 3)
    # Along rows and then along columns Pillow rounds to bytes, each time perhaps to another one.
    assert np.abs(difference).max() <= 2
    clear = np.ix_(clear_of_ties(y, h, height, new_height), clear_of_ties(x, w, width, new_width))
    assert np.array_equal(at_once.apply_segmentation(label)[clear], steps.apply_segmentation(label)[clear])
    points = np.array([[0.0, 0.0], [width, height], [1.5, 2.5]])
    assert np.array_equal(at_once.apply_coords(points.copy()), steps.apply_coords(points.copy()))
    for other in (image[..., :1].astype(np.float32), image.astype(np.float64)):
        assert np.array_equal(at_once.apply_image(other), steps.apply_image(other))
    assert np.array_equal(exact.apply_image(image), steps.apply_image(image))
    assert np.array_equal(exact.apply_segmentation(label), steps.apply_segmentation(label))


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 40), st.integers(4, 40), st.sampled_from([0.5, 1.0]), seeds)
def test_scale_crop_draws_the_same_numbers(height: int, width: int, max_area: float, seed: int) -> None:
    scale = RandomScale((0,), 10, "choice", (0.5, 2.0))
    crop = RandomCrop("absolute", [6, 8], max_area)
    label = label_of(height, width, seed, classes=3)
    separate, together = (T.AugInput(image_of(height, width), sem_seg=label) for _ in range(2))
    np.random.seed(seed)
    T.AugmentationList([scale, crop])(separate)
    expected = np.random.random()
    np.random.seed(seed)
    RandomResizeCrop(scale, crop)(together)
    assert np.random.random() == expected
    assert together.image.shape == separate.image.shape
    assert np.abs(together.image.astype(int) - separate.image).max() <= 2
    assert (together.sem_seg == separate.sem_seg).mean() > 0.5  # the other half may be ties


def test_padding_is_even_on_both_sides() -> None:
    image, label = np.full((2, 3, 3), 200, dtype=np.uint8), np.full((2, 3), 7, dtype=np.uint8)
    augmented = T.AugInput(image, sem_seg=label)
    transform = PadToSize((5, 4), FILL)(augmented)
    # One row above and two below, nothing left and one column right.
    expected = np.full((5, 4), VOID)
    expected[1:3, :3] = 7
    assert np.array_equal(augmented.sem_seg, expected)
    assert (augmented.image[expected == 7] == 200).all()
    assert (augmented.image[expected == VOID] == FILL_BYTES).all()
    assert transform.apply_coords(np.array([[1.5, 0.5]])).tolist() == [[1.5, 1.5]]


@settings(max_examples=60, deadline=None)
@given(heights, widths, heights, widths, st.sampled_from([1, 3]))
def test_padding_keeps_the_image(height: int, width: int, least_h: int, least_w: int, channels: int) -> None:
    image, label = image_of(height, width, channels), label_of(height, width, 0)
    augmented = T.AugInput(image, sem_seg=label)
    transform = PadToSize((least_h, least_w), FILL[:channels])(augmented)
    assert augmented.image.shape == (max(height, least_h), max(width, least_w), channels)
    kept = augmented.sem_seg != VOID
    assert np.array_equal(augmented.sem_seg[kept].reshape(height, width), label)
    assert np.array_equal(augmented.image[kept].reshape(image.shape), image)
    assert (augmented.image[~kept] == FILL_BYTES[:channels]).all()
    # Centerd, up to the odd pixel.
    assert transform.apply_coords(np.array([[width / 2, height / 2]])) == pytest.approx(
        np.array([augmented.image.shape[1::-1]]) / 2, abs=0.5
    )


def test_padding_can_be_undone() -> None:
    image = image_of(5, 6)
    padding = Pad(1, 2, 3, 4, 6, 5, pad_value=FILL)
    assert np.array_equal(padding.inverse().apply_image(padding.apply_image(image)), image)


def test_brightness_multiplies_and_clips() -> None:
    image = np.array([[[0, 1, 100], [3, 200, 255]]], dtype=np.uint8)
    for factor, expected in ((1.5, [[0, 2, 150], [4, 255, 255]]), (0.5, [[0, 0, 50], [2, 100, 128]])):
        # To the nearest byte, the even one of two: 1.5, 4.5 become 2, 4, and 0.5, 1.5, 127.5 become 0, 2, 128.
        augmented = T.AugInput(image, sem_seg=image[..., 0])
        RandomBrightness(factor, factor)(augmented)
        assert augmented.image.tolist() == [expected]
        assert np.array_equal(augmented.sem_seg, image[..., 0])


def test_brightness_is_between_its_bounds() -> None:
    np.random.seed(0)
    image = np.full((1, 1, 3), 100, dtype=np.uint8)
    drawn = {int(RandomBrightness(0.8, 1.2).get_transform(image).apply_image(image)[0, 0, 0]) for _ in range(1000)}
    assert drawn == set(range(80, 121))


def test_contrast_keeps_the_mean() -> None:
    # The mean is (0 + 40 + 80 + 120) / 4 = 60; factor 2 gives -60, 20, 100, 180, factor 0.5 gives 30, 50, 70, 90.
    image = np.array([[[0, 40], [80, 120]]], dtype=np.uint8)
    for factor, expected in ((2.0, [[0, 20], [100, 180]]), (0.5, [[30, 50], [70, 90]])):
        assert RandomContrast(factor, factor).get_transform(image).apply_image(image).tolist() == [expected]


@pytest.mark.parametrize("image_format", ["BGR", "RGB"])
def test_saturation_keeps_the_gray(image_format: str) -> None:
    # Of red 200, green 102, blue 20 the gray is 0.299 * 200 + 0.587 * 102 + 0.114 * 20 = 121.95, a byte of 122.
    # Factor 0.5 gives (161, 112, 71), factor 2 gives (278, 82, -82) before it is clipped.
    color = np.array([[[200, 102, 20]]], dtype=np.uint8)
    order = slice(None) if image_format == "RGB" else slice(None, None, -1)
    image = np.ascontiguousarray(color[..., order])
    for factor, expected in ((0.5, [161, 112, 71]), (2.0, [255, 82, 0]), (1.0, [200, 102, 20])):
        changed = RandomSaturation(factor, factor, image_format).get_transform(image).apply_image(image)
        assert changed[0, 0, order].tolist() == expected


def test_contrast_and_saturation_are_between_their_bounds() -> None:
    np.random.seed(0)
    image = np.full((1, 2, 3), 60, dtype=np.uint8)
    image[0, 1] = 140  # 40 above the mean
    drawn = {int(RandomContrast(0.5, 1.5).get_transform(image).apply_image(image)[0, 1, 0]) for _ in range(1000)}
    assert drawn == set(range(120, 161))
    image[0, 1] = 200, 102, 20  # the red is 78 above the gray
    saturation = RandomSaturation(0.5, 1.5, "RGB")
    drawn = {int(saturation.get_transform(image).apply_image(image)[0, 1, 0]) for _ in range(2000)}
    assert drawn == set(range(161, 240))


def test_blur_has_opencv_weights() -> None:
    # Binomial weights 1 4 6 4 1 along rows and along columns; 256 is the square of their sum.
    image = np.zeros((9, 9, 3), dtype=np.uint8)
    image[4, 4] = 255
    blur = GaussianBlur(5).get_transform(image)
    blurred = blur.apply_image(image)
    expected = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) * 255 / 256
    assert np.abs(blurred[2:7, 2:7, 0] - expected).max() <= 0.5
    assert np.count_nonzero(blurred) == 25 * 3
    label = label_of(9, 9, 0)
    assert blur.apply_segmentation(label) is label


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 1)])
@pytest.mark.parametrize(
    "transform",
    [
        lambda image: Rotate(*image.shape[:2], 30, FILL[:1]),
        GaussianBlur(5).get_transform,
        RandomBrightness(0.5, 2.0).get_transform,
        RandomContrast(0.5, 2.0).get_transform,
        PadToSize((3, 3), FILL[:1]).get_transform,
    ],
)
def test_one_channel_and_one_pixel_are_supported(transform: Any, size: tuple[int, int]) -> None:
    image = np.full((*size, 1), 9, dtype=np.uint8)
    result = transform(image).apply_image(image)
    assert result.dtype == np.uint8
    assert result.ndim == 3 and result.shape[2] == 1


@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4, 7])
@pytest.mark.parametrize("new_size", [(1, 1), (7, 90), (40, 13), (33, 51)])
def test_a_resize_has_pillow_s_values(channels: int, new_size: tuple[int, int]) -> None:
    image = image_of(20, 30, max(channels, 1))
    image = image if channels else image[..., 0]
    resized = Resize(20, 30, *new_size).apply_image(image)
    bands = [image] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    expected = [np.asarray(Image.fromarray(band).resize(new_size[::-1], Image.Resampling.BILINEAR)) for band in bands]
    assert np.array_equal(resized, expected[0] if image.ndim == 2 else np.stack(expected, axis=2))


def test_labels_of_any_type_are_resized_as_bytes_are() -> None:
    label = label_of(20, 30, 0)
    resize = Resize(20, 30, 33, 17)
    expected = T.ResizeTransform(20, 30, 33, 17).apply_segmentation(label)
    for dtype in (np.uint8, bool, np.uint16, np.int32, np.float32):
        assert np.array_equal(resize.apply_segmentation(label.astype(dtype)), expected.astype(dtype))


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 40), st.integers(4, 40), st.booleans(), seeds)
def test_resize_and_crop_equal_those_of_detectron2(height: int, width: int, flips: bool, seed: int) -> None:
    """With the same random numbers."""
    lengths, style, crop = (3, 60), "range", ("relative_range", (0.3, 0.5))
    flip = [T.RandomFlip(1.0)] if flips else []
    own = [RandomResizeCrop(ResizeShortestEdge(lengths, 99, style), RandomCrop(*crop)), *flip]
    peer = [T.ResizeShortestEdge(lengths, 99, style), T.RandomCrop(*crop), *flip]
    inputs = []
    for steps in (own, peer):
        np.random.seed(seed)
        inputs.append(T.AugInput(image_of(height, width), sem_seg=label_of(height, width, seed)))
        T.AugmentationList(steps)(inputs[-1])
    assert np.array_equal(inputs[0].image, inputs[1].image)
    assert np.array_equal(inputs[0].sem_seg, inputs[1].sem_seg)
