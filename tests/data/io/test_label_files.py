import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from PIL import Image

from unified_seg.data.io.image_files import read_image, read_image_size
from unified_seg.data.io.label_files import read_label, read_panoptic_ids, write_png
from unified_seg.data.problems import DataError, UnsupportedError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 40000), (np.int32, 70000)])
def test_labels_keep_their_ids(dtype: type, top: int, tmp_path: Path) -> None:
    ids = np.array([[0, 1, 7], [200, 255, top]], dtype=dtype)
    label = read_label(save(tmp_path / "x.tiff", ids))
    assert label.dtype == (np.uint8 if dtype is np.uint8 else np.int32)
    assert label.flags.writeable  # torch warns of arrays that are not
    assert np.array_equal(label, ids)


def test_16_bit_png_ids_are_not_cut(tmp_path: Path) -> None:
    assert read_label(save(tmp_path / "x.png", np.array([[300, 26001]], dtype=np.uint16))).tolist() == [[300, 26001]]


@pytest.mark.parametrize(("bits", "row", "ids"), [(1, 0b01100000, [0, 1, 1]), (2, 0b00011011, [0, 1, 2, 3])])
def test_gray_labels_of_few_bits_keep_their_ids(bits: int, row: int, ids: list[int], tmp_path: Path) -> None:
    write_gray_png(tmp_path / "x.png", bits, len(ids), bytes([row]))
    assert read_label(tmp_path / "x.png").tolist() == [ids]
    write_gray_png(tmp_path / "x.png", 4, 4, bytes([0x01, 0x3F]))
    assert read_label(tmp_path / "x.png").tolist() == [[0, 1, 3, 15]]


def write_gray_png(path: Path, bits: int, width: int, row: bytes) -> None:
    """Write a PNG of one row, as Pillow can't."""
    header = struct.pack(">IIBBBBB", width, 1, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    framed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))


def test_a_palette_label_gives_indices_not_colors(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8), "P")
    image.putpalette([200, 100, 50, 10, 20, 30, 5, 5, 5])
    image.save(tmp_path / "x.png")
    assert read_label(tmp_path / "x.png").tolist() == [[0, 1], [2, 1]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_color_label_is_an_error(mode: str, tmp_path: Path) -> None:
    Image.fromarray(RGB).convert(mode).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=rf"x\.png: a label map has one channel of ids, got a {mode} image"):
        read_label(tmp_path / "x.png")


def test_one_bit_labels_are_read(tmp_path: Path) -> None:
    label = read_label(save(tmp_path / "x.png", np.array([[True, False]])))
    assert (label.dtype, label.tolist()) == (np.uint8, [[1, 0]])


@given(arrays(np.uint8, (3, 5, 3)))
@settings(deadline=None)
def test_panoptic_ids_are_what_panopticapi_reads(tmp_path_factory: pytest.TempPathFactory, rgb: np.ndarray) -> None:
    from panopticapi.utils import rgb2id

    file = save(tmp_path_factory.mktemp("rgb") / "x.png", rgb)
    assert np.array_equal(read_panoptic_ids(file), rgb2id(rgb))


def test_panoptic_ids_are_decoded_from_rgb(tmp_path: Path) -> None:
    rgb = np.array([[[0, 0, 0], [7, 0, 0]], [[1, 2, 0], [255, 255, 255]]], dtype=np.uint8)
    ids = read_panoptic_ids(save(tmp_path / "x.png", rgb))
    # 1 + 2 * 256 = 513; three bytes of ones are 2 ** 24 - 1.
    assert ids.tolist() == [[0, 7], [513, 2**24 - 1]]
    assert ids.dtype == np.int32


def test_a_gray_panoptic_png_is_an_error(tmp_path: Path) -> None:
    save(tmp_path / "x.png", RGB[..., 0])
    with pytest.raises(DataError, match=r"x\.png: a panoptic PNG codes its ids as RGB, got a L image"):
        read_panoptic_ids(tmp_path / "x.png")


@pytest.mark.parametrize("reader", [read_image, read_label, read_panoptic_ids, read_image_size])
def test_unusable_files_are_named(reader: object, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.png: there is no such file"):
        reader(tmp_path / "absent.png")  # type: ignore[operator]
    (tmp_path / "text.png").write_text("<html></html>")
    with pytest.raises(DataError, match=r"text\.png: not a readable image"):
        reader(tmp_path / "text.png")  # type: ignore[operator]
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"folder\.png: not a readable image"):
        reader(tmp_path / "folder.png")  # type: ignore[operator]


@pytest.mark.parametrize("reader", [read_image, read_panoptic_ids])
def test_truncated_files_are_named(reader: object, tmp_path: Path) -> None:
    file = save(tmp_path / "x.png", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"x\.png: not a readable image"):
        reader(file)  # type: ignore[operator]


def test_jpeg_labels_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "x.jpg", RGB[..., 0])
    with pytest.raises(UnsupportedError, match="a JPEG file, expected PNG, BMP, TIFF"):
        read_label(tmp_path / "x.jpg")


def test_gray_pngs_are_read_as_written(tmp_path: Path) -> None:
    ids = np.array([[0, 7], [150, 255]], np.uint8)
    write_png(tmp_path / "a.png", ids)
    assert np.array_equal(read_label(tmp_path / "a.png"), ids)


def test_panoptic_pngs_are_read_as_written(tmp_path: Path) -> None:
    ids = np.array([[0, 255, 256], [65536, 2**24 - 1, 300]], np.int32)
    write_png(tmp_path / "a.png", ids)
    assert np.array_equal(read_panoptic_ids(tmp_path / "a.png"), ids)
    # R + 256 G + 65536 B: 300 = 44 + 256.
    assert np.asarray(Image.open(tmp_path / "a.png"))[1, 2].tolist() == [44, 1, 0]


@pytest.mark.parametrize("wrong", [-1, 2**24])
def test_ids_above_three_bytes_are_refused(wrong: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.png: segment ids must be in \[0, 16777215\]"):
        write_png(tmp_path / "a.png", np.array([[0, wrong]]))
