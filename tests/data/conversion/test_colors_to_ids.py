"""Maps of class ids from label images whose colors are classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from unified_seg.data.coco.categories import read_classes
from unified_seg.data.conversion.colors_to_ids import convert_colors, convert_colors_to_ids, read_colors
from unified_seg.data.datasets.custom import CustomDataset
from unified_seg.data.io.label_files import read_label
from unified_seg.data.problems import DataError
from unified_seg.data.validation.checks import check_record
from unified_seg.structures.class_table import make_voc_palette

SKY, ROAD, VOID = (70, 130, 180), (128, 64, 128), (0, 0, 0)
LEGEND = "70 130 180 sky\n128 64 128 road\n0 0 0 nothing\n"
IDS = np.array([[0, 0, 0], [1, 1, 255]], dtype=np.uint8)
COLORS = np.array([[SKY, SKY, SKY], [ROAD, ROAD, VOID]], dtype=np.uint8)


def palette_image(ids: np.ndarray, colors: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(ids).convert("P")
    image.putpalette([value for color in colors for value in color])
    image.putdata(ids.ravel().tolist())
    return image


@pytest.fixture
def street(tmp_path: Path) -> Path:
    (tmp_path / "colors/a").mkdir(parents=True)
    Image.fromarray(COLORS).save(tmp_path / "colors/a/one.png")
    (tmp_path / "legend.txt").write_text(LEGEND)
    return tmp_path


def convert(folder: Path, **options: Any) -> Any:
    given = {"void": ["nothing"], **options}
    return convert_colors(folder / "colors", folder / "legend.txt", folder / "ids", **given)


def test_files_are_those_made_by_hand(street: Path) -> None:
    Image.fromarray(COLORS[::-1]).save(street / "colors/two.bmp")
    (street / "colors/notes.txt").write_text("not an image")
    assert convert(street) == (2, 12, 0, 0, None)
    with Image.open(street / "ids/a/one.png") as image:
        assert (image.format, image.mode) == ("PNG", "L")
    assert read_label(street / "ids/a/one.png").tolist() == IDS.tolist()
    assert read_label(street / "ids/two.png").tolist() == IDS[::-1].tolist()
    assert [(c.name, c.dataset_id, c.color) for c in read_classes(street / "ids/classes.yaml").classes] == [
        ("sky", 0, SKY), ("road", 1, ROAD),
    ]  # fmt: skip
    assert sorted(p.name for p in (street / "ids").rglob("*")) == ["a", "classes.yaml", "one.png", "two.png"]


def test_a_custom_data_set_reads_the_files(street: Path) -> None:
    convert(street)
    entry = {"NAME": "street", "IMAGES": "colors", "SEMANTIC": "ids", "CLASSES": "ids/classes.yaml"}
    dataset = CustomDataset.from_entry(entry, street)
    (record,) = dataset.load()
    check_record(record, dataset.read_table())


FORMS: dict[str, Callable[[], Image.Image]] = {
    "RGB": lambda: Image.fromarray(COLORS),
    "RGBA": lambda: Image.fromarray(COLORS).convert("RGBA"),
    # The order of the palette differs from that of the ids.
    "P": lambda: palette_image(np.array([[2, 2, 2], [0, 0, 1]], dtype=np.uint8), [ROAD, VOID, SKY]),
}


@pytest.mark.parametrize("mode", FORMS)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colors_of_any_mode_are_the_same(tmp_path: Path, mode: str, suffix: str) -> None:
    image = FORMS[mode]()
    assert image.mode == mode
    image.save(tmp_path / f"x.{suffix}")
    assert read_colors(tmp_path / f"x.{suffix}").tolist() == COLORS.tolist()


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_gray_images_have_gray_colors(tmp_path: Path, mode: str) -> None:
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert(mode).save(tmp_path / "x.png")
    assert read_colors(tmp_path / "x.png").tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_label_images_are_rotated_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(COLORS[::-1, ::-1]).save(tmp_path / "x.png", exif=exif)
    assert read_colors(tmp_path / "x.png").tolist() == COLORS.tolist()


@given(ids=arrays(np.uint8, (5, 6), elements=st.integers(0, 20)))
@settings(deadline=None)
def test_ids_of_voc_palette_colors_are_their_indices(ids: np.ndarray) -> None:
    palette = make_voc_palette(21, first=0)
    colors = np.array(palette, dtype=np.uint8)[ids]
    assert np.array_equal(convert_colors_to_ids(colors, tuple(zip(palette, range(21)))), ids)


@settings(max_examples=15)
@given(
    colors=arrays(np.uint8, (4, 4, 3)),
    values=st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=3, unique=True),
)
def test_without_tolerance_only_equal_colors_match(colors: np.ndarray, values: list[tuple[int, int, int]]) -> None:
    colors[0, 0] = values[0]
    expected = np.full((4, 4), -1)
    for index, color in enumerate(values):
        expected[(colors == color).all(axis=-1)] = index
    assert np.array_equal(convert_colors_to_ids(colors, tuple(zip(values, range(3)))), expected)


def test_tolerance_holds_for_each_channel() -> None:
    near = [(8, 10, 12), (7, 10, 10), (10, 10, 13), (12, 12, 12), (0, 2, 255), (0, 3, 255)]
    ids = convert_colors_to_ids(np.array([near], dtype=np.uint8), (((10, 10, 10), 4), ((0, 0, 255), 9)), tolerance=2)
    assert ids.tolist() == [[4, -1, -1, 4, 9, -1]]


def test_too_large_tolerances_are_refused(street: Path) -> None:
    # Sky and road differ by 66 in green, void and the others by more.
    convert(street, tolerance=32)
    with pytest.raises(DataError, match=r"legend\.txt: --tolerance must be below 33, got 33: .* \(70, 130, 180\) "):
        convert(street, tolerance=33)


def test_a_failed_conversion_leaves_no_classes_of_an_earlier_one(street: Path) -> None:
    convert(street)
    (street / "legend.txt").write_text("9 9 9 car\n70 130 180 sky\n0 0 0 nothing\n")
    with pytest.raises(DataError, match="not in the legend"):
        convert(street)
    assert not (street / "ids/classes.yaml").exists()


def test_unknown_colors_are_an_error_or_void(street: Path) -> None:
    colors = np.concatenate([COLORS, [[[1, 2, 3], ROAD, [1, 2, 3]]]]).astype(np.uint8)
    Image.fromarray(colors).save(street / "colors/b.png")
    with pytest.raises(DataError, match=r"b\.png: the color \(1, 2, 3\) .* 2 pixels, first at row 2, column 0;"):
        convert(street)
    assert not (street / "ids/classes.yaml").exists()
    assert convert(street, unknown=255) == (2, 15, 2, 1, street / "colors/b.png")
    assert read_label(street / "ids/b.png").tolist() == [*IDS.tolist(), [255, 1, 255]]


def saves(name: str, image: Image.Image) -> Callable[[Path], None]:
    return lambda folder: image.save(folder / "colors" / name)


def cut_off(folder: Path) -> None:
    path = folder / "colors/a/one.png"
    path.write_bytes(path.read_bytes()[:60])


def jpeg_by_another_name(folder: Path) -> None:
    Image.fromarray(COLORS).save(folder / "colors/a/one.png", format="JPEG")


TRANSPARENT = np.dstack([COLORS, np.array([[255] * 3, [255, 7, 0]])]).astype(np.uint8)
BAD = {
    "JPEG": (saves("x.jpg", Image.fromarray(COLORS)), r"x\.jpg: JPEG compression changes colors"),
    "JPEG by another name": (jpeg_by_another_name, r"one\.png: JPEG compression"),
    "WebP": (saves("x.webp", Image.fromarray(COLORS)), r"x\.webp: WEBP compression"),
    "16 bits": (saves("x.png", Image.fromarray(np.full((2, 3), 300, np.uint16))), "label images must have 8 bits"),
    "transparent": (saves("x.png", Image.fromarray(TRANSPARENT)), r"x\.png: 2 pixels are transparent, first at row 1"),
    "cut off": (cut_off, r"one\.png: not a readable image"),
    "no image": (lambda f: (f / "colors/x.png").write_text("x"), r"x\.png: not a readable image"),
    "one name": (saves("a/one.bmp", Image.fromarray(COLORS)), r"one\.png: one\.bmp would have the same PNG"),
    "nothing": (lambda f: (f / "colors/a/one.png").unlink(), r"colors: no .* file in it"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_error(street: Path, name: str) -> None:
    change, message = BAD[name]
    change(street)
    with pytest.raises(DataError, match=message):
        convert(street)
    assert not (street / "ids/classes.yaml").exists()


def test_outputs_in_inputs_are_refused(street: Path) -> None:
    before = (street / "colors/a/one.png").read_bytes()
    for output in (street / "colors", street / "colors/ids", street):
        with pytest.raises(DataError, match="the output must not overlap with the input"):
            convert_colors(street / "colors", street / "legend.txt", output)
    (street / "ids").mkdir()
    (street / "ids/classes.yaml").write_text("- {name: sky, color: [70, 130, 180]}")
    with pytest.raises(DataError, match=r"the output must not overlap with the input .*classes\.yaml"):
        convert_colors(street / "colors", street / "ids/classes.yaml", street / "ids")
    assert (street / "colors/a/one.png").read_bytes() == before
