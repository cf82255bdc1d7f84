"""Checked masks against pycocotools; and that it never sees a bad one (item 36 of the reliability list)."""

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_util

from unified_seg.data.coco import masks as coco_masks
from unified_seg.data.coco.masks import convert_to_rle, decode_counts
from unified_seg.data.problems import DataError

SIZE = (6, 8)


def encoded(mask: np.ndarray) -> dict[str, Any]:
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def runs_of(mask: np.ndarray) -> list[int]:
    runs = [(value, len(list(run))) for value, run in itertools.groupby(mask.ravel(order="F").tolist())]
    return [*([0] if runs[0][0] else []), *(length for _, length in runs)]


def mask_of(counts: list[int], size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8).reshape(size, order="F")


def written(number: int, characters: int) -> str:
    """A number as COCO compresses it, in so many characters, which need not be the least."""
    groups = [(number >> (5 * place)) & 31 for place in range(characters)]
    return "".join(chr(48 + group + (32 if place < characters - 1 else 0)) for place, group in enumerate(groups))


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """Few runs are long, many are short: both need numbers of one and of several characters."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    pixels = draw(st.lists(st.booleans(), min_size=1, max_size=height * width))
    stretched = np.repeat(pixels, draw(st.integers(1, 50)))
    return np.resize(stretched, (height, width))


@settings(deadline=None)
@given(masks())
def test_run_lengths_of_any_form_equal_pycocotools(mask: np.ndarray):
    expected = encoded(mask)
    assert decode_counts(expected["counts"]) == decode_counts(expected["counts"].encode()) == runs_of(mask)
    for counts in (expected["counts"], expected["counts"].encode(), runs_of(mask)):
        rle = convert_to_rle({"size": list(mask.shape), "counts": counts}, mask.shape, "file")
        assert rle == expected
        json.dumps(rle)


@settings(deadline=None)
@given(st.lists(st.integers(0, SIZE[0] * SIZE[1]), max_size=6))
def test_runs_of_0_pixels_are_merged(bounds: list[int]):
    """They are allowed, but pycocotools' boxes are wrong of them, so they join their neighbors."""
    counts = np.diff([0, *sorted(bounds), SIZE[0] * SIZE[1]]).tolist()
    rle = convert_to_rle({"size": SIZE, "counts": counts}, SIZE, "file")
    mask = mask_of(counts)
    assert rle == encoded(mask)
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    box = [0, 0, 0, 0]
    if len(columns):
        box = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
    assert mask_util.toBbox(rle).tolist() == box


@pytest.mark.parametrize("characters", range(2, 7))
def test_numbers_with_redundant_characters_are_read(characters: int):
    # 48 = 5 + 7 + 9 + 4 + 20 + 3: the last three are written as 4 - 7 = -3, 20 - 9 = 11 and 3 - 4 = -1.
    text = "".join(written(number, characters) for number in (5, 7, 9, -3, 11, -1))
    assert decode_counts(text) == [5, 7, 9, 4, 20, 3]
    official = mask_util.decode({"size": list(SIZE), "counts": text.encode()})
    assert np.array_equal(official, mask_of([5, 7, 9, 4, 20, 3]))
    assert convert_to_rle({"size": SIZE, "counts": text}, SIZE, "file") == encoded(official)


def test_a_polygon_covers_its_pixels():
    # Columns 2 to 4 and rows 1 to 3: x from 2 to 5, y from 1 to 4.
    expected = np.zeros(SIZE, np.uint8)
    expected[1:4, 2:5] = 1
    square = [2, 1, 5.0, 1, 5, 4, 2, 4]
    assert convert_to_rle([square], SIZE, "file") == encoded(expected)
    assert convert_to_rle((np.array(square, np.float32),), SIZE, "file") == encoded(expected)
    expected[5, 0] = 1
    assert convert_to_rle([square, [0, 5, 1, 5, 1, 6, 0, 6]], SIZE, "file") == encoded(expected)


coordinates = st.floats(-20, 30, width=16) | st.integers(-20, 30)


@settings(deadline=None)
@given(st.lists(st.lists(coordinates, min_size=3, max_size=8).map(lambda p: p * 2), min_size=1, max_size=3))
def test_polygons_equal_pycocotools(polygons: list[list[float]]):
    each = [mask_util.decode(mask_util.frPyObjects([polygon], *SIZE))[:, :, 0] for polygon in polygons]
    assert convert_to_rle(polygons, SIZE, "file") == encoded(np.max(each, axis=0))


def test_polygons_at_the_largest_distance_are_accepted():
    # 10 x 8 pixels outside on each side; the whole image is inside.
    assert convert_to_rle([[-80, -80, 80, -80, 80, 80, -80, 80]], SIZE, "file") == encoded(np.ones(SIZE))


def compressed(counts: Any, size: Any = SIZE) -> dict[str, Any]:
    return {"size": size, "counts": counts}


NO_COUNTS, NO_SUM = "counts must be run lengths", "run lengths do not add up to 6 x 8 pixels"
NO_TEXT, NO_MASK = "counts must be compressed run lengths", "a mask must be polygons or run lengths"
NO_POLYGON, NO_NUMBER = "a polygon must be a list of numbers x, y", "a polygon must be a list of numbers"
OUTSIDE = "far outside"
BAD = {
    "nothing": (None, NO_MASK),
    "a number": (5, NO_MASK),
    "a text": ("P4", NO_MASK),
    "no polygon": ([], NO_MASK),
    "an empty object": ({}, "the mask has the size None, its image"),
    "no size": ({"counts": [48]}, "the mask has the size None"),
    "a number as size": (compressed([48], 48), "the mask has the size 48"),
    "another size": (compressed([48], [8, 6]), r"the mask has the size \[8, 6\], its image \[6, 8\] \(H, W\)"),
    "a size of three": (compressed([48], [6, 8, 1]), "the mask has the size"),
    "a huge size": (compressed([10**12], [10**6, 10**6]), "the mask has the size"),
    "a size with NaN": (compressed([48], [math.nan, 8]), "the mask has the size"),
    "no counts": ({"size": SIZE}, NO_COUNTS),
    "a number as counts": (compressed(48), NO_COUNTS),
    "counts in an object": (compressed({"0": 48}), NO_COUNTS),
    "fractions": (compressed([0.5, 47.5]), NO_COUNTS),
    "NaN": (compressed([math.nan, 48]), NO_COUNTS),
    "booleans": (compressed([47, True]), NO_COUNTS),
    "texts as runs": (compressed(["48"]), NO_COUNTS),
    "lists as runs": (compressed([[48]]), NO_COUNTS),
    "no run": (compressed([]), NO_SUM),
    "too few pixels": (compressed([40, 7]), NO_SUM),
    "too many pixels": (compressed([0, 10**9]), NO_SUM),
    "more pixels than numbers have bits": (compressed([0, 10**400]), NO_SUM),
    "the right sum modulo 2^32": (compressed([2**32, 48]), NO_SUM),
    "a run below 0": (compressed([50, -2]), NO_SUM),
    "no text": (compressed(""), NO_TEXT),
    "no bytes": (compressed(b""), NO_TEXT),
    "a text that is cut": (compressed("P"), NO_TEXT),
    "a text of other characters": (compressed("/"), NO_TEXT),
    "a text above o": (compressed("p0"), NO_TEXT),
    "a text with 0": (compressed("\0"), NO_TEXT),
    "a text beyond ASCII": (compressed("é1"), NO_TEXT),
    "a text of half characters": (compressed("\ud800"), NO_TEXT),
    "bytes beyond ASCII": (compressed(b"\xff1"), NO_TEXT),
    "a text of too few pixels": (compressed("5"), NO_SUM),
    "a text of too many pixels": (compressed(written(10**8, 6)), NO_SUM),
    # 49 and -1, which pycocotools takes for 4294967295.
    "a text of a run below 0": (compressed(written(49, 2) + written(-1, 1)), NO_SUM),
    # 0, 20, 10, 20 - 16 and 10 + 4 are 48, but pycocotools shifts by more than 32 bits and may take -16 for -8.
    "a text of overflows": (compressed("".join(written(n, 7) for n in (0, 20, 10, -16, 4))), "more than 30 bits"),
    "a flat polygon of two points": ([1, 1, 5, 1], "must have at least 3 points"),
    "polygons in an object": ([{"x": 1}], NO_POLYGON),
    "a text as polygon": (["115155"], NO_POLYGON),
    "a polygon that is none": ([[1, 1, 5, 1, 5, 5], None], NO_POLYGON),
    "no point": ([[]], "at least 3 points x, y, got 0 numbers"),
    "two points": ([[1, 1, 5, 1]], "at least 3 points x, y, got 4 numbers"),
    "half a point": ([[1, 1, 5, 1, 5, 5, 3]], "at least 3 points x, y, got 7 numbers"),
    "letters": ([["a"] * 6], NO_NUMBER),
    "digits": ([["1"] * 6], NO_NUMBER),
    "points in lists": ([[[1, 1], [5, 1], [5, 5], [1, 5], [3, 3], [2, 2]]], NO_NUMBER),
    "booleans as points": ([[1, 1, 5, 1, 5, True]], NO_NUMBER),
    "null as a point": ([[1, 1, 5, 1, 5, None]], NO_NUMBER),
    "NaN as a point": ([[1, 1, 5, 1, 5, math.nan]], OUTSIDE),
    "infinity": ([[1, 1, 5, 1, math.inf, 5]], OUTSIDE),
    "a billion": ([[1, 1, 5, 1, 1e9, 5]], OUTSIDE),
    "beyond all floats": ([[1, 1, 5, 1, 10**400, 5]], OUTSIDE),
    "just too far": ([[1, 1, 5, 1, -80.5, 5]], OUTSIDE),
    "the second polygon": ([[1, 1, 5, 1, 5, 5], [1, 1, 5, 1, 1e9, 5]], OUTSIDE),
    # To and fro 100 times; around each of 48 pixels and the farthest square it is 4 x 48 + 8 x 80 = 832.
    "an endless outline": ([[-80, -80, 80, 80] * 100], "too long an outline, 32000 pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_invalid_masks_never_reach_pycocotools(name: str, monkeypatch: pytest.MonkeyPatch):
    segmentation, message = BAD[name]
    monkeypatch.setattr(coco_masks, "mask_util", None)
    with pytest.raises(DataError, match=rf"^results\.json: record 3: .*{message}") as error:
        convert_to_rle(segmentation, SIZE, "results.json: record 3")
    assert len(str(error.value)) < 250 and "\n" not in str(error.value)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet=[chr(c) for c in range(40, 120)], max_size=12) | st.lists(st.integers(-9, 99), max_size=5))
def test_any_counts_give_a_mask_or_an_error(counts: str | list[int]):
    try:
        rle = convert_to_rle({"size": SIZE, "counts": counts}, SIZE, "results.json: record 0")
    except DataError as error:
        assert str(error).startswith("results.json: record 0: ")
        return
    runs = decode_counts(counts) if isinstance(counts, str) else counts
    assert sum(runs) == 48 and rle == encoded(mask_of(runs))


numbers = st.none() | st.booleans() | st.integers() | st.floats() | st.integers(0, 48)
contents = st.recursive(
    numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=8) | st.lists(numbers, max_size=8),
    max_leaves=25,
)


@settings(deadline=None, max_examples=100)
@given(contents | st.fixed_dictionaries({}, optional={"size": st.just([6, 8]) | contents, "counts": contents}))
def test_any_json_gives_a_mask_or_an_error(segmentation: Any):
    try:
        rle = convert_to_rle(segmentation, SIZE, "results.json: record 0")
    except DataError as error:
        assert str(error).startswith("results.json: record 0: ")
        return
    assert rle == encoded(mask_util.decode(rle))
