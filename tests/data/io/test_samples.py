"""Ranges of values and channels: what files store becomes what a model reads."""

import logging
import re
import shlex
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tiff import write_tiff

from unified_seg.config import ConfigError, get_config, load_config
from unified_seg.data.io import image_files
from unified_seg.data.io.image_files import (
    BANDS,
    read_image,
    read_image_header,
    read_image_size,
    read_picture,
    read_used_share,
)
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.io.open_image import DEFAULT_MAX_PIXELS, VARIABLE, set_max_pixels
from unified_seg.data.io.samples import rotate_upright
from unified_seg.data.problems import UnreadableError, UnsupportedError

RNG = np.random.default_rng(0)
SIZE = (6, 8)


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_warned", set())


def read_hint(message: str) -> ImageReader:
    """Return the reader of a config with the overrides that a message hints at."""
    (hint,) = re.findall("`([^`]+)`", message)
    return ImageReader.from_config(load_config("", shlex.split(hint)))


def make_ramp(top: int) -> np.ndarray:
    """Return (6, 8) uint16 from 0 to the top."""
    return np.linspace(0, top, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_images_of_cameras_keep_their_higher_8_bits(bits: int, name: str, tmp_path: Path) -> None:
    pixels = make_ramp(2**bits - 1)
    Image.fromarray(pixels).save(tmp_path / name)
    found = read_image(tmp_path / name)
    assert np.array_equal(found[..., 0], pixels >> (bits - 8)) and found.max() == 255


@pytest.mark.parametrize(("top", "shift"), [(2**17 - 1, 9), (100_000, 9), (2**24 - 1, 16)])
def test_whole_numbers_above_16_bits_use_the_bits_that_they_need(top: int, shift: int, tmp_path: Path) -> None:
    pixels = np.linspace(0, top, 48).reshape(SIZE).astype(np.uint32)
    assert np.array_equal(read_image(write_tiff(tmp_path / "x.tif", pixels))[..., 0], pixels >> shift)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.ppm"])
def test_deep_colors_keep_their_higher_8_bits(name: str, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 4096, (*SIZE, 3)).astype(np.uint16)
    pixels[0, 0] = 4095
    cv2.imwrite(str(tmp_path / name), pixels)
    assert np.array_equal(read_image(tmp_path / name, "BGR"), pixels >> 4)
    assert np.array_equal(read_image(tmp_path / name, "RGB"), pixels[..., ::-1] >> 4)
    assert np.array_equal(read_image(tmp_path / name, value_range=(0, 65535)), pixels >> 8)


def test_files_that_declare_their_range_are_read_by_it(tmp_path: Path) -> None:
    dark = make_ramp(1000)  # of a camera of 12 bits; without the tag it would be taken for one of 10
    file = write_tiff(tmp_path / "x.tif", dark, {340: 0, 341: 4095})
    assert np.array_equal(read_image(file)[..., 0], dark >> 4)
    assert np.array_equal(read_image(file, default_range=(0, 65535))[..., 0], dark >> 4)
    assert np.array_equal(read_image(file, value_range=(0, 65535))[..., 0], dark >> 8)
    file = write_tiff(tmp_path / "y.tif", dark, {281: 16383})
    assert np.array_equal(read_image(file)[..., 0], dark >> 6)
    (tmp_path / "x.pgm").write_bytes(b"P5\n8 6\n4095\n" + dark.astype(">u2").tobytes())
    assert np.array_equal(read_image(tmp_path / "x.pgm")[..., 0], dark >> 4)


def test_files_that_declare_nothing_take_the_range_of_the_data_set(tmp_path: Path) -> None:
    Image.fromarray(make_ramp(1000)).save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png", default_range=(0, 4095))[..., 0], make_ramp(1000) >> 4)


def test_signed_and_floating_values_are_read_by_a_known_range(tmp_path: Path) -> None:
    signed = write_tiff(tmp_path / "signed.tif", np.array([[-1024, 0, 3071, 9000]], dtype=np.int16))
    assert read_image(signed, value_range=(-1024, 3071))[0, :, 0].tolist() == [0, 64, 255, 255]
    floats = np.array([[0, 0.25, 1, np.nan, -3]], dtype=np.float32)
    for dtype in (np.float32, np.float64):
        file = write_tiff(tmp_path / "float.tif", floats.astype(dtype))
        assert read_image(file, default_range=(0.0, 1.0))[0, :, 0].tolist() == [0, 64, 255, 0, 0]
        with pytest.raises(UnsupportedError, match=r"float\.tif: a floating-point image.*INPUT\.VALUE_RANGE") as error:
            read_image(file)
        assert read_hint(str(error.value)).read(file)[0, :, 0].tolist() == [192, 208, 255, 0, 0]
    with pytest.raises(UnsupportedError, match=r"signed\.tif: .*negative.*INPUT\.VALUE_RANGE") as error:
        read_image(signed)
    assert read_hint(str(error.value)).value_range == (-1024, 9000)


def test_what_was_taken_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(make_ramp(4000)).save(tmp_path / name)
        read_image(tmp_path / name)
    (record,) = caplog.records
    assert "a.png" in record.message and read_hint(record.message).value_range == (0, 4095)


@pytest.mark.parametrize(("top", "share"), [(4095, 4095 / 65535), (65535, 1.0)])
def test_the_used_share_is_of_the_values_of_the_file(top: int, share: float, tmp_path: Path) -> None:
    Image.fromarray(make_ramp(top)).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert read_used_share(tmp_path / "x.png", image) == pytest.approx(share)
    assert read_used_share(tmp_path / "x.png", image, (0, top)) == 1


@pytest.mark.parametrize("channels", [2, 4, 5, 12])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_many_bands_are_read_or_unsupported(channels: int, dtype: type, tmp_path: Path) -> None:
    pixels = RNG.integers(0, np.iinfo(dtype).max + 1, (*SIZE, channels)).astype(dtype)
    pixels[0, 0] = np.iinfo(dtype).max
    file = write_tiff(tmp_path / "x.tif", pixels)
    expected = (pixels >> (8 * pixels.itemsize - 8)).astype(np.uint8)
    assert np.array_equal(read_image(file, BANDS, channels=channels), expected)
    assert read_image_header(file) == (*SIZE, 1)
    for format in ("BGR", "L"):
        with pytest.raises(UnsupportedError, match=rf"x\.tif: unsupported: {channels} channels, the model reads"):
            read_image(file, format)
    with pytest.raises(UnsupportedError, match=rf"{channels} channels.* reads 7 "):
        ImageReader(BANDS, 7).check(file)
    picture = expected[..., [0, 0, 0]] if channels == 2 else expected[..., :3]
    assert read_picture(file).shape == (*SIZE, 3)
    if channels > 2:
        assert np.abs(read_picture(file).astype(int) - picture).max() <= 3  # stretched from its lowest value


def test_bands_in_tiles_and_compressed_are_read(tmp_path: Path) -> None:
    bands = RNG.integers(0, 256, (5, *SIZE), dtype=np.uint8)
    pages = [Image.fromarray(band) for band in bands]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert np.array_equal(read_image(tmp_path / "pages.tif", BANDS, channels=5), bands.transpose(1, 2, 0))
    # Deflated, with the differences of neighbors.
    chunky = np.ascontiguousarray(bands.transpose(1, 2, 0))
    differences = np.diff(chunky, axis=1, prepend=np.zeros((SIZE[0], 1, 5), np.uint8))
    packed = np.frombuffer(zlib.compress(differences.tobytes()), np.uint8)
    file = write_tiff(tmp_path / "x.tif", chunky, {259: 8, 317: 2, 279: packed.size})
    start = file.read_bytes().rindex(chunky.tobytes())
    file.write_bytes(file.read_bytes()[:start] + packed.tobytes())
    assert np.array_equal(read_image(file, BANDS, channels=5), chunky)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UnreadableError, match=r"x\.tif"):
        read_image(file, BANDS, channels=5)


def test_hint_at_bands_reads_all_channels(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "x.tif", np.zeros((*SIZE, 12), np.uint8))
    with pytest.raises(UnsupportedError, match=r"x\.tif: unsupported: 12 channels, the model reads 3") as error:
        read_image(file)
    assert read_hint(str(error.value)).read(file).shape == (*SIZE, 12)


def test_bands_of_another_compression_are_unsupported(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "x.tif", np.zeros((*SIZE, 12), np.uint8), {259: 5})
    with pytest.raises(UnsupportedError, match=r"x\.tif: unsupported: 12 channels .* without compression"):
        read_image(file, BANDS, channels=12)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.webp"])
def test_alpha_is_dropped_with_a_word(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = RNG.integers(0, 256, (*SIZE, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / name, **({"lossless": True, "exact": True} if "webp" in name else {}))
    for _ in range(2):
        assert np.array_equal(read_image(tmp_path / name, "RGB"), pixels[..., :3])
    assert [record.levelno for record in caplog.records if "alpha" in record.message] == [logging.WARNING]
    assert np.array_equal(read_image(tmp_path / name, "RGBA"), pixels)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA", "I;16"])
def test_gray_models_read_every_picture(mode: str, tmp_path: Path) -> None:
    gray = RNG.integers(0, 256, SIZE, dtype=np.uint8)
    gray[0, 0] = 255
    image = Image.fromarray(gray.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(gray).convert(mode)
    image.save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png", "L"), gray[..., None])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_samples_are_turned_as_pillow_turns_images(orientation: int, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65536, SIZE).astype(np.uint16)
    pixels[0, 0] = 65535
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((pixels >> 8).astype(np.uint8)).save(tmp_path / "plain.png", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "deep.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "deep.png"), read_image(tmp_path / "plain.png"))
    assert rotate_upright(pixels, orientation).shape == read_image_size(tmp_path / "deep.png")


@pytest.mark.parametrize(
    ("format", "mean", "key"),
    [
        ("BGR", [1.0], "INPUT.FORMAT BGR has 3 channels, MODEL.PIXEL_MEAN 1"),
        ("L", [1.0] * 3, "INPUT.FORMAT L has 1 channels, MODEL.PIXEL_MEAN 3"),
        ("RGB", [1.0] * 12, "BANDS"),
        ("HSV", [1.0] * 3, "INPUT.FORMAT must be one of"),
    ],
)
def test_formats_and_means_that_do_not_fit_are_named(format: str, mean: list[float], key: str) -> None:
    cfg = get_config()
    cfg.INPUT.FORMAT, cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = format, mean, mean
    with pytest.raises(ConfigError, match=key):
        ImageReader.from_config(cfg)


@pytest.mark.parametrize("values", [[1], [4095, 0], [0, 0], [0, 1, 2]])
def test_ranges_that_are_none_are_named(values: list[int]) -> None:
    cfg = get_config()
    cfg.INPUT.VALUE_RANGE = values
    with pytest.raises(ConfigError, match=r"INPUT\.VALUE_RANGE"):
        ImageReader.from_config(cfg)


def test_stretched_images_of_any_depth_and_exposure_are_alike(tmp_path: Path) -> None:
    cfg = load_config("", ["INPUT.STRETCH_PERCENTILES", "[0, 100]", "INPUT.VALUE_RANGE", "[]"])
    reader = ImageReader.from_config(cfg)
    pixels = RNG.integers(0, 16, (*SIZE, 3)).astype(np.uint8)  # dark
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 15
    Image.fromarray(pixels).save(tmp_path / "plain.png")
    write_tiff(tmp_path / "deep.tif", pixels.astype(np.uint16) * 4000 + 999)
    write_tiff(tmp_path / "float.tif", pixels.astype(np.float32) / 7 - 1)  # else of unknown range
    for name in ("plain.png", "deep.tif", "float.tif"):
        assert np.array_equal(reader.read(tmp_path / name), pixels[..., ::-1] * 17), name
    # Values between 0 and 255 come from all bits of the file, not from the higher 8.
    ramp = make_ramp(4095) + 1000
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    found = reader.read(tmp_path / "ramp.png")[..., 0]
    assert np.abs(found - (ramp - 1000.0) * 255 / 4095).max() <= 0.5


def test_pictures_for_people_are_brightened_if_nothing_in_them_is_bright(tmp_path: Path) -> None:
    dark = RNG.integers(0, 40, (50, 60, 3), dtype=np.uint8)
    lamp = dark.copy()
    lamp[:5, :5] = 220
    for name, pixels in (("dark.png", dark), ("lamp.png", lamp)):
        Image.fromarray(pixels).save(tmp_path / name)
    assert read_picture(tmp_path / "dark.png").max() == 255
    assert np.array_equal(read_picture(tmp_path / "lamp.png"), lamp)
    assert read_image(tmp_path / "dark.png").max() < 40


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "CMYK", "I;16"])
def test_turned_tiffs_are_read_upright(mode: str, orientation: int, compression: str | None, tmp_path: Path) -> None:
    gray = RNG.integers(0, 256, SIZE, dtype=np.uint8)
    stored = gray.astype(np.uint16) * 257 if mode == "I;16" else np.stack([gray, gray.T.reshape(SIZE), gray], axis=2)
    stored = stored[..., 0] if mode == "L" else stored
    image = Image.fromarray(stored).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "x.tif", exif=exif, compression=compression)
    image.save(tmp_path / "plain.tif", compression=compression)
    expected = rotate_upright(read_image(tmp_path / "plain.tif"), orientation)
    assert np.array_equal(read_image(tmp_path / "x.tif"), expected)
    assert read_image_size(tmp_path / "x.tif") == expected.shape[:2]
    if mode in ("L", "RGB", "P"):
        bands = read_image(tmp_path / "x.tif", BANDS, channels=1 if mode == "L" else 3)
        assert np.array_equal(bands[..., 0], expected[..., -1])


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_tiffs_of_floats_are_read_upright(orientation: int, compression: str | None, tmp_path: Path) -> None:
    image = Image.fromarray(RNG.random(SIZE, dtype=np.float32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "x.tif", exif=exif, compression=compression)
    image.save(tmp_path / "plain.tif", compression=compression)
    turned, plain = (read_image(tmp_path / name, "L", value_range=(0.0, 1.0)) for name in ("x.tif", "plain.tif"))
    assert np.array_equal(turned, rotate_upright(plain, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pages_become_bands(orientation: int, tmp_path: Path) -> None:
    pages = [RNG.integers(0, 256, SIZE, dtype=np.uint8) for _ in range(3)]
    exif = Image.Exif()
    exif[0x0112] = orientation
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(tmp_path / "x.tif", save_all=True, append_images=others, exif=exif)
    expected = rotate_upright(np.stack(pages, axis=2), orientation)
    assert np.array_equal(read_image(tmp_path / "x.tif", BANDS, channels=3), expected)


@pytest.mark.parametrize("format", ["BGR", "L"])
def test_an_alpha_channel_is_no_part_of_the_contrast(format: str, tmp_path: Path) -> None:
    reader = ImageReader(format, 3 if format == "BGR" else 1, percentiles=(1, 99.8))
    pixels = RNG.integers(0, 1000, (*SIZE, 4)).astype(np.uint16)
    pixels[..., 3] = 65535
    cv2.imwrite(str(tmp_path / "alpha.png"), pixels)
    cv2.imwrite(str(tmp_path / "plain.png"), pixels[..., :3])
    assert np.array_equal(reader.read(tmp_path / "alpha.png"), reader.read(tmp_path / "plain.png"))


def test_gray_is_stretched_after_its_conversion_at_any_depth(tmp_path: Path) -> None:
    reader = ImageReader("L", 1, percentiles=(2, 98))
    pixels = RNG.integers(0, 200, (*SIZE, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "plain.png"), pixels)
    cv2.imwrite(str(tmp_path / "deep.png"), pixels.astype(np.uint16) * 300)
    plain, deep = reader.read(tmp_path / "plain.png"), reader.read(tmp_path / "deep.png")
    assert np.abs(plain.astype(int) - deep).max() <= 2  # of 8 bits gray is rounded first


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["INPUT.STRETCH_PERCENTILES", "[99, 1]"], "two percentiles from 0 to 100"),
        (["INPUT.STRETCH_PERCENTILES", "[1, 101]"], "two percentiles from 0 to 100"),
        (["INPUT.STRETCH_PERCENTILES", "[1]"], "two percentiles from 0 to 100"),
        (["INPUT.STRETCH_PERCENTILES", "[0.01, 0.998]"], "write percent"),
        (
            ["INPUT.STRETCH_PERCENTILES", "[1, 99]", "INPUT.FORMAT", "YUV-BT.601"],
            "needs INPUT.FORMAT to be one of BGR, RGB, L, BANDS",
        ),
        (["INPUT.STRETCH_PERCENTILES", "[1, 99]", "INPUT.VALUE_RANGE", "[0, 9]"], "set one of them"),
    ],
)
def test_invalid_percentiles_are_named(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"INPUT\.STRETCH_PERCENTILES.*{message}"):
        ImageReader.from_config(load_config("", overrides))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_of_pixels_is_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(DEFAULT_MAX_PIXELS))  # restored afterwards
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    Image.new("1", (10_000, 10_000)).save(tmp_path / "x.png")
    Image.new("L", (14_000, 14_000)).save(tmp_path / "y.jpg")  # above twice the default, which Pillow refuses
    for name in ("x.png", "y.jpg"):
        with pytest.raises(UnreadableError, match=rf"{name}.*INPUT\.MAX_PIXELS"):
            read_image_size(tmp_path / name)
    set_max_pixels(200_000_000)
    assert read_image_size(tmp_path / "y.jpg") == (14_000, 14_000)
    assert read_image(tmp_path / "x.png", "L").shape == (10_000, 10_000, 1)
    set_max_pixels(40)
    Image.new("L", (8, 6)).save(tmp_path / "small.png")
    with pytest.raises(UnreadableError, match=r"small\.png: 6x8 pixels, more than the limit of 40") as error:
        read_image(tmp_path / "small.png")
    for key, limit in map(str.split, re.findall("`([^`]+)`", str(error.value))):
        assert key in ("INPUT.MAX_PIXELS", "--max-pixels")
        set_max_pixels(int(limit))
        read_image(tmp_path / "small.png")
