"""Images as graphs read them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.data.transforms import ResizeShortestEdge
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unified_seg_arrays.stretch import stretch_contrast
from unified_seg_runtime import Description, ImageError, decode_image, read_image
from unified_seg_runtime.images import find_input_size, make_batch, resize_to_form, to_input

side = st.integers(1, 300)


def make_form(**values) -> Description:
    given = {"format": "onnx", "graph": "g", "precision": "float32", "channels": "BGR", "num_channels": 3}
    given |= {
        "percentiles": None,
        "min_size": 0,
        "max_size": 0,
        "size": None,
        "smallest": 1,
        "batch": 1,
        "outputs": [],
        "stride": 4,
        "classes": [],
    }
    return Description(**{**given, "ignore_label": 255, "fusion": "", "fusion_options": {}, **values})


@settings(max_examples=50, deadline=None)
@given(height=side, width=side, shortest=side, longest=side)
def test_size_is_that_of_detectron2(height: int, width: int, shortest: int, longest: int) -> None:
    expected = ResizeShortestEdge.get_output_shape(height, width, shortest, longest)
    found = find_input_size((height, width), make_form(min_size=shortest, max_size=longest))
    assert found == tuple(max(each, 1) for each in expected)


def test_image_fits_into_a_fixed_size() -> None:
    form = make_form(size=(64, 128), min_size=300, max_size=300)
    assert find_input_size((64, 128), form) == (64, 128)
    assert find_input_size((10, 10), form) == (64, 64)
    assert find_input_size((1, 1000), form) == (1, 128)


def test_colors_go_into_the_order_of_the_model() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(to_input(pixels, make_form()), pixels[:, :, ::-1])
    assert np.array_equal(to_input(pixels, make_form(channels="RGB")), pixels)
    stretched = to_input(pixels // 2, make_form(percentiles=(0, 100)))
    assert np.array_equal(stretched, stretch_contrast(pixels[:, :, ::-1] // 2, (0, 100))) and stretched.max() == 255
    gray = to_input(pixels, make_form(channels="L", num_channels=1))
    assert np.array_equal(gray[..., 0], np.asarray(Image.fromarray(pixels).convert("L")))


def test_channels_are_resized_as_one_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    found = resize_to_form(pixels, make_form(min_size=13, max_size=100))
    assert np.array_equal(found, np.asarray(Image.fromarray(pixels).resize((20, 13), Image.Resampling.BILINEAR)))


def test_batch_is_padded_with_zeros() -> None:
    images = [np.full((2, 3, 1), 7, dtype=np.uint8), np.full((4, 1, 1), 9, dtype=np.uint8)]
    batch, sizes = make_batch(images, make_form(num_channels=1, batch=3))
    assert batch.shape == (3, 1, 4, 3) and batch.sum() == 6 * 7 + 4 * 9
    assert sizes.tolist() == [[2, 3], [4, 1], [1, 1]]


def test_files_are_read_upright_and_with_limits(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (6, 4, 3)
    with pytest.raises(ImageError, match="limit of 20"):
        decode_image((tmp_path / "a.jpg").read_bytes(), max_pixels=20)
    (tmp_path / "b.jpg").write_text("text")
    with pytest.raises(ImageError, match=r"b\.jpg: not a readable image"):
        read_image(tmp_path / "b.jpg")
    with pytest.raises(ImageError, match=r"c\.jpg"):
        read_image(tmp_path / "c.jpg")


@pytest.mark.parametrize(
    ("name", "channels"), [("x.png", 1), ("x.png", 3), ("x.tif", 1), ("x.tif", 3), ("x.pgm", 1), ("x.ppm", 3)]
)
def test_files_of_more_than_8_bits_are_refused(name: str, channels: int, tmp_path: Path) -> None:
    for dtype, message in ((np.uint16, "more than 8 bits"), (np.uint8, "")):
        pixels = np.full((4, 6, channels), 200, dtype=dtype)
        assert cv2.imwrite(str(tmp_path / name), pixels)
        if message:
            with pytest.raises(ImageError, match=message):
                read_image(tmp_path / name)
        else:
            assert (read_image(tmp_path / name) == 200).all()


@pytest.mark.parametrize("name", ["x.bmp", "x.png", "x.tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_wide_images_of_8_bits_are_read(name: str, channels: int, tmp_path: Path) -> None:
    """A row of 300 pixels has more than 255 bytes, which Pillow notes for a BMP where a PPM has its highest value."""
    assert cv2.imwrite(str(tmp_path / name), np.full((3, 300, channels), 200, dtype=np.uint8))
    assert (read_image(tmp_path / name) == 200).all()


def test_floats_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 6), dtype=np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(ImageError, match="more than 8 bits"):
        read_image(tmp_path / "x.tif")
