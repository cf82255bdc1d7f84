"""COCO's three forms of a mask, checked before pycocotools reads them.

pycocotools hands run lengths and polygons to C code without checks: if they do not fit the image, it reads and writes
beyond its memory, or gives a wrong mask.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_util

from unified_seg.data.problems import DataError


class MaskError(DataError):
    """A mask in none of COCO's forms, or one that doesn't fit its image."""

    kind = "mask"


Rle = dict[str, Any]  # {"size": [H, W], "counts": str}

# A number of six characters has 30 bits, more than an image has pixels; the C code overflows from the seventh on.
MAX_CHARACTERS = 6
# Annotators' points are sometimes a little outside of the image; far outside, the rasterizer overflows.
MAX_DISTANCE = 10
PLAIN_NUMBERS = frozenset({int, float})


def convert_to_rle(segmentation: Any, image_size: tuple[int, int], where: str) -> Rle:
    """Return a mask in any of COCO's forms as compressed run lengths that are safe for pycocotools.

    Args:
        segmentation: {"size": [H, W], "counts": ...} with run lengths down the columns, the first of background, as a
            list or compressed (str, or bytes as pycocotools gives them); or polygons [[x, y, x, y, ...], ...] in
            pixels.
        image_size: (H, W).
        where: file and record, for errors.

    Returns:
        {"size": [H, W], "counts": str}, equal to what `pycocotools.mask.encode` gives of the mask.

    Raises:
        DataError: none of the forms, another image size, run lengths that do not fill the image, or a polygon with
            less than three points, far outside the image, or with too long an outline.
    """
    checked = check_segmentation(segmentation, image_size, where)
    if isinstance(checked, dict):
        return checked
    polygons = [polygon.reshape(-1).tolist() for polygon in checked]
    return decode_rle(mask_util.merge(mask_util.frPyObjects(polygons, *image_size)))


def check_segmentation(segmentation: Any, image_size: tuple[int, int], where: str) -> Rle | list[np.ndarray]:
    """Return a mask in its own form; polygons stay polygons, which transforms can move by fractions of a pixel.

    Args, raises:
        See `convert_to_rle`.

    Returns:
        {"size": [H, W], "counts": str} of run lengths, or polygons (P, 2) float64 of x and y.
    """
    try:
        if isinstance(segmentation, dict):
            counts = _merge_empty_runs(_read_run_lengths(segmentation, image_size))
            return decode_rle(mask_util.frPyObjects({"size": list(image_size), "counts": counts}, *image_size))
        return _check_polygons(segmentation, image_size)
    except DataError as error:
        raise MaskError(f"{where}: {error}") from None


def drop_empty_polygons(segmentation: Any) -> Any:
    """Return a segmentation without polygons of no point, such as [[]], which exporters write for no mask."""
    return [part for part in segmentation if part != []] if isinstance(segmentation, list) else segmentation


def name_annotation(annotation: Mapping[str, Any], index: int) -> str:
    """Return the name of an annotation in errors: its id or, without one, its place in the record."""
    return f"annotation {annotation.get('id', index)}"


def check_masks(record: Mapping[str, Any]) -> None:
    """Raise DataError if an annotation of the record that is not a crowd has no mask."""
    for index, annotation in enumerate(record.get("annotations", ())):
        if not annotation.get("segmentation") and not annotation.get("iscrowd", 0):
            where = f"{record['file_name']}: {name_annotation(annotation, index)}"
            raise DataError(f"{where} has no segmentation, and MODEL.MASK_ON is set")


def decode_rle(rle: Rle) -> Rle:
    """Return run lengths with counts as str: pycocotools gives bytes, which JSON can't hold."""
    counts = rle["counts"]
    return {"size": [int(n) for n in rle["size"]], "counts": counts.decode() if isinstance(counts, bytes) else counts}


def decode_counts(text: str | bytes) -> list[int]:
    """Return the numbers of COCO's compressed run lengths, as `rleFrString` of its maskApi.c reads them.

    Raises:
        DataError: not such a text, or a number that would overflow.
    """
    # Beyond ASCII every byte is above 127, out of the range below.
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    chars = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - 48
    # Six bits a character, starting at "0": five bits of a number, the lowest first, and whether more follow.
    last = (chars & 32) == 0
    if not len(chars) or chars.min() < 0 or chars.max() > 63 or not last[-1]:
        raise DataError(f"counts must be compressed run lengths, got {text!r:.80}")
    starts = np.flatnonzero(np.r_[True, last[:-1]])
    lengths = np.diff(np.r_[starts, len(chars)])
    if lengths.max() > MAX_CHARACTERS:
        raise DataError(f"counts must not have a run length of more than {5 * MAX_CHARACTERS} bits")
    place = np.arange(len(chars)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((chars & 31) << (5 * place), starts)
    numbers -= np.where(chars[last] & 16, 1 << (5 * lengths), 0)  # the highest bit is the sign
    # From the fourth number on, each is the difference to the number two places before.
    numbers[1::2], numbers[2::2] = np.cumsum(numbers[1::2]), np.cumsum(numbers[2::2])
    return numbers.tolist()


def _read_run_lengths(segmentation: dict[str, Any], image_size: tuple[int, int]) -> list[int]:
    """Return the run lengths of a mask, compressed or not, of an image of this size."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list | tuple) or tuple(size) != image_size:
        raise DataError(f"the mask has the size {size!r:.80}, its image {list(image_size)} (H, W)")
    if isinstance(counts, str | bytes):
        counts = decode_counts(counts)
    elif not isinstance(counts, list) or any(type(run) is not int and not _is_whole(run) for run in counts):
        raise DataError(f"counts must be run lengths, as integers or compressed, got {counts!r:.80}")
    counts = [int(run) for run in counts]
    if min(counts, default=0) < 0 or sum(counts) != image_size[0] * image_size[1]:
        raise DataError(f"run lengths do not add up to {image_size[0]} x {image_size[1]} pixels")
    return counts


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _merge_empty_runs(counts: Sequence[int]) -> np.ndarray:
    """Return the same mask without runs of 0 pixels but the first, with which pycocotools' boxes are wrong."""
    runs = np.array(counts, dtype=np.int64)
    filled = np.flatnonzero(runs)
    colors = filled % 2
    merged = np.add.reduceat(runs[filled], np.flatnonzero(np.diff(colors, prepend=-1)))
    return np.r_[0, merged] if colors[0] else merged


def _check_polygons(polygons: Any, image_size: tuple[int, int]) -> list[np.ndarray]:
    if not isinstance(polygons, list | tuple) or not polygons:
        raise DataError(f"a mask must be polygons or run lengths, got {polygons!r:.80}")
    # Some versions of VIA write one polygon without a list around it.
    if all(isinstance(value, int | float) for value in polygons):
        polygons = [polygons]
    return [_check_polygon(polygon, image_size) for polygon in polygons]


def _check_polygon(polygon: Any, image_size: tuple[int, int]) -> np.ndarray:
    # Detectron2's records may hold arrays.
    if not isinstance(polygon, list | tuple | np.ndarray):
        raise DataError(f"a polygon must be a list of numbers x, y, x, y, ..., got {polygon!r:.80}")
    if len(polygon) < 6 or len(polygon) % 2:
        raise DataError(f"a polygon must have at least 3 points x, y, got {len(polygon)} numbers")
    if not PLAIN_NUMBERS.issuperset(map(type, polygon)):
        _check_types(polygon)
    try:
        points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    except OverflowError:  # of a whole number with hundreds of digits
        points = np.full((1, 2), np.inf)
    allowed = MAX_DISTANCE * max(image_size)
    farthest = float(np.abs(points).max())
    if not farthest <= allowed:
        wrong = next(value for value in polygon if not -allowed <= value <= allowed)
        raise DataError(f"a polygon has the coordinate {wrong!r:.80}, which is NaN or far outside the image")
    # The rasterizer's memory grows with the outline. The longest valid one goes around every pixel, and once around
    # everything that is not too far outside.
    longest = 4 * image_size[0] * image_size[1] + 8 * allowed
    if len(points) * 2 * farthest > longest:  # else it can't be longer
        outline = float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())
        if outline > longest:
            raise DataError(f"a polygon has too long an outline, {outline:.0f} pixels")
    return points


def _check_types(polygon: Any) -> None:
    """Raise DataError for a value that is not a number."""
    for value in polygon:
        if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
            raise DataError(f"a polygon must be a list of numbers, got {value!r:.80}")
