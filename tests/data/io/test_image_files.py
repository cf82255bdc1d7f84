import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unified_seg.data.io.image_files import read_image, read_image_header, read_image_size
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.problems import DataError, UnreadableError, UnsupportedError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
ORIENTATION = 0x0112


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("name", ["plain.png", "with space é中.png", "x.bmp", "x.tiff", "x.ppm"])
def test_channels_have_the_requested_order(name: str, tmp_path: Path) -> None:
    file = save(tmp_path / name, RGB)
    assert np.array_equal(read_image(file, "RGB"), RGB)
    bgr = read_image(str(file), "BGR")
    assert np.array_equal(bgr, RGB[..., ::-1])
    assert bgr.dtype == np.uint8 and bgr.flags.c_contiguous
    assert read_image_size(file) == (4, 6)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA", "1"])
def test_images_of_every_mode_become_three_channels(mode: str, tmp_path: Path) -> None:
    file = tmp_path / "x.tiff"
    Image.fromarray(RGB).convert(mode).save(file)
    assert read_image(file).shape == (4, 6, 3)


@pytest.mark.parametrize("format", ["GIF", "JPEG2000"])
def test_other_formats_are_unsupported_and_not_damaged(format: str, tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "x.jpg", format=format)
    with pytest.raises(UnsupportedError, match=r"x\.jpg: unsupported: a (GIF|JPEG 2000) file, expected JPEG, PNG"):
        read_image(tmp_path / "x.jpg")


@pytest.mark.parametrize("name", ["x.png", "x.tiff"])
def test_of_16_bits_the_higher_8_are_kept(name: str, tmp_path: Path) -> None:
    # 65535 is white, 256 * 100 + 7 the gray 100.
    file = save(tmp_path / name, np.array([[65535, 25607, 7]], dtype=np.uint16))
    assert read_image(file).tolist() == [[[255] * 3, [100] * 3, [0] * 3]]


def test_floating_point_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.tiff: a floating-point image"):
        read_image(save(tmp_path / "x.tiff", np.zeros((2, 3), dtype=np.float32)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_image_agree_for_every_orientation(orientation: int, tmp_path: Path) -> None:
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    for name in ("x.jpg", "x.png"):
        image.save(tmp_path / name, exif=exif)
        assert read_image(tmp_path / name).shape[:2] == read_image_size(tmp_path / name)
    assert read_image_size(tmp_path / "x.jpg") == ((6, 4) if orientation > 4 else (4, 6))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_tags_behind_the_pixels_of_a_png_count(orientation: int, tmp_path: Path) -> None:
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    image.save(file := tmp_path / "x.png", exif=exif)
    chunks = split_png(file.read_bytes())
    (tag,) = (chunk for chunk in chunks if chunk[4:8] == b"eXIf")
    chunks.insert(-1, chunks.pop(chunks.index(tag)))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert read_image_header(file) == (*RGB.shape[:2], orientation)


def split_png(content: bytes) -> list[bytes]:
    """Return the chunks behind the signature."""
    chunks, start = [], 8
    while start < len(content):
        stop = start + 12 + int.from_bytes(content[start : start + 4], "big")
        chunks.append(content[start:stop])
        start = stop
    return chunks


def test_photographs_are_rotated_upright(tmp_path: Path) -> None:
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[ORIENTATION] = 6  # the camera's top is at the right: turn clockwise
    image.save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "x.png", "RGB"), np.rot90(RGB, -1))


def test_the_size_of_a_truncated_png_is_read(tmp_path: Path) -> None:
    file = save(tmp_path / "x.png", RNG.integers(0, 256, (64, 48, 3), dtype=np.uint8))
    file.write_bytes(file.read_bytes()[:2000])
    assert read_image_size(file) == (64, 48)  # nothing behind the header is read


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("reader", [read_image, read_image_size])
def test_images_above_the_open_image_are_refused(reader: object, tmp_path: Path) -> None:
    """Item 18: of one bit each they are a few kilobytes."""
    Image.new("1", (10_000, 9_000)).save(tmp_path / "x.png")
    with pytest.raises(UnreadableError, match=r"x\.png: 9000x10000 pixels, more than"):
        reader(tmp_path / "x.png")  # type: ignore[operator]


@pytest.mark.parametrize("reader", [read_image, read_image_size])
def test_invalid_exif_tags_are_named(reader: object, tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "x.webp", exif=b"Exif\0\0no tiff header")
    with pytest.raises(UnreadableError, match=r"x\.webp: its EXIF tags can't be read"):
        reader(tmp_path / "x.webp")  # type: ignore[operator]


def test_formats_that_run_other_programs_are_not_opened(tmp_path: Path) -> None:
    # Pillow would hand an EPS to Ghostscript, whatever the file is called.
    Image.fromarray(RGB).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "x.jpg")
    with pytest.raises(DataError, match=r"x\.jpg: not a readable image"):
        read_image(tmp_path / "x.jpg")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_fifo_is_unreadable_at_once(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    for read in (read_image, read_image_size, ImageReader().read):
        with pytest.raises(UnreadableError, match="not a regular file"):
            read(tmp_path / name)


def test_too_many_open_files_is_not_a_damaged_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path / "a.png", RGB)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(OSError, match="Too many open files") as error:
        read_image(file)
    assert not isinstance(error.value, DataError)
