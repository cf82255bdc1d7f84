from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from unified_seg.data.io.image_files import read_image
from unified_seg.data.io.label_files import read_panoptic_ids
from unified_seg.data.io.plain_images import decode_plain_ids, decode_plain_image
from unified_seg.data.problems import DataError


def photo(height: int = 37, width: int = 53) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    return Image.fromarray((np.stack([3 * rows, 4 * columns, rows + columns], axis=2) % 200 + noise).astype(np.uint8))


SAVED = {
    "png": (".png", {}),
    "jpeg": (".jpg", {"quality": 90}),
    "jpeg, full color": (".jpg", {"quality": 95, "subsampling": 0}),
    "jpeg, progressive": (".jpg", {"quality": 70, "progressive": True}),
    "jpeg, two to one": (".jpg", {"quality": 80, "subsampling": 1}),
}


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("format", ["BGR", "RGB"])
def test_pixels_are_those_of_pillow(name: str, format: str, tmp_path: Path) -> None:
    suffix, options = SAVED[name]
    photo().save(tmp_path / f"a{suffix}", **options)
    decoded = decode_plain_image(tmp_path / f"a{suffix}", format)
    assert decoded is not None and np.array_equal(decoded, read_image(tmp_path / f"a{suffix}", format))


def test_other_images_are_left_to_pillow(tmp_path: Path) -> None:
    turned, note = Image.Exif(), PngImagePlugin.PngInfo()
    turned[274] = 6
    note.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    saved = {
        "gray.png": (photo().convert("L"), {}),
        "alpha.png": (photo().convert("RGBA"), {}),
        "palette.png": (photo().convert("P"), {}),
        "transparent.png": (photo(), {"transparency": (1, 2, 3)}),
        "turned.png": (photo(), {"exif": turned}),
        "turned_by_text.png": (photo(), {"pnginfo": note}),
        "animated.png": (photo(), {"save_all": True, "append_images": [photo(37, 53).rotate(90)]}),
        "turned.jpg": (photo(), {"exif": turned}),
        "gray.jpg": (photo().convert("L"), {}),
        "ink.jpg": (photo().convert("CMYK"), {}),
        "other.webp": (photo(), {}),
    }
    for name, (image, options) in saved.items():
        image.save(tmp_path / name, **options)
        assert decode_plain_image(tmp_path / name, "BGR") is None, name
    (tmp_path / "text.jpg").write_text("no image")
    for name in ("text.jpg", "absent.png"):
        assert decode_plain_image(tmp_path / name, "BGR") is None


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_files_that_end_early_are_left_to_pillow(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    photo(80, 120).save(path)
    content = path.read_bytes()
    for length in (0, 1, 20, 200, len(content) // 2, len(content) - 40):
        path.write_bytes(content[:length])
        assert decode_plain_image(path, "RGB") is None
        with pytest.raises(DataError):
            read_image(path, "RGB")


def test_an_image_beyond_the_limit_is_left_to_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo().save(tmp_path / "a.png")
    monkeypatch.setenv("UNIFIED_SEG_MAX_PIXELS", "1000")
    assert decode_plain_image(tmp_path / "a.png", "BGR") is None


def test_ids_are_those_of_the_panoptic_reader(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    assert np.array_equal(decode_plain_ids(tmp_path / "a.png"), read_panoptic_ids(tmp_path / "a.png"))
