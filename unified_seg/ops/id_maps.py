"""Counting and replacing ids in maps, in one pass that looks ids up only when they change.

(H, W) = a map.
"""

from collections.abc import Sequence

import numpy as np

from unified_seg_arrays.compiled import compiled


class UnknownIdsError(ValueError):
    """A map contains ids that are not among the known ones.

    Attributes:
        in_first: of two maps, whether it is the first.
        ids: the unknown ids, ascending.
    """

    def __init__(self, in_first: bool, ids: list[int]):
        super().__init__(f"the {'first' if in_first else 'second'} map contains unknown ids {ids}")
        self.in_first = in_first
        self.ids = ids


def format_ids(ids: Sequence[int], limit: int = 10) -> str:
    """Return ids as text for a message, at most `limit` of them."""
    more = f" and {len(ids) - limit} more" if len(ids) > limit else ""
    return f"{list(ids[:limit])}{more}"


def count_pairs(
    first: np.ndarray, second: np.ndarray, first_ids: Sequence[int], second_ids: Sequence[int]
) -> np.ndarray:
    """Count the pixels of every pair (id in the first map, id in the second), and check all ids.

    Args:
        first, second: maps of one shape, of any integer types.
        first_ids, second_ids: the known ids, at least one, each once, in any order.

    Returns:
        (len(first_ids), len(second_ids)) int64; its sum is the number of pixels.

    Raises:
        UnknownIdsError: a map contains an unknown id.
        ValueError: the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"both maps must have one shape, got {first.shape} and {second.shape}")
    known = [np.asarray(ids, dtype=np.int64) for ids in (first_ids, second_ids)]
    orders = [np.argsort(ids) for ids in known]
    counts = np.zeros((len(known[0]), len(known[1])), dtype=np.int64)
    flat = [np.ascontiguousarray(ids).reshape(-1) for ids in (first, second)]
    if not _count_pairs(*flat, known[0][orders[0]], known[1][orders[1]], counts):
        unknown = [np.setdiff1d(ids, allowed).tolist() for ids, allowed in zip(flat, known)]
        raise UnknownIdsError(not unknown[1], unknown[1] or unknown[0])
    result = np.empty_like(counts)
    result[np.ix_(*orders)] = counts
    return result


def measure_segments(ids: np.ndarray, known: Sequence[int]) -> np.ndarray:
    """Measure the area and the tight window of each id in a map, and check all ids.

    Args:
        ids: (H, W), any integer type.
        known: the M known ids, each once, ascending.

    Returns:
        (M, 5) int64: area in pixels, then top, bottom, left, right, with bottom and right exclusive; zeros for an id
        without pixels.

    Raises:
        UnknownIdsError: the map contains an unknown id.
    """
    allowed = np.asarray(known, dtype=np.int64)
    extents = np.zeros((len(allowed), 5), dtype=np.int64)
    if not _measure(ids, allowed, extents):
        raise UnknownIdsError(True, np.setdiff1d(ids, allowed).tolist())
    return extents


def replace_ids(
    ids: np.ndarray, known: Sequence[int], values: Sequence[int], dtype: type[np.integer] = np.int32
) -> np.ndarray:
    """Replace each id by a value, and check all ids.

    Args:
        ids: (H, W), any integer type.
        known: the M known ids, each once, ascending.
        values: M values, 0 .. 2**31 - 1.
        dtype: of the result, which holds all values.

    Returns:
        (H, W) of this type.

    Raises:
        UnknownIdsError: the map contains an unknown id.
    """
    allowed = np.asarray(known, dtype=np.int64)
    result = np.empty(ids.shape, dtype=dtype)
    if not _replace(ids, allowed, np.asarray(values, dtype=np.int32), result):
        raise UnknownIdsError(True, np.setdiff1d(ids, allowed).tolist())
    return result


def look_up(numbers: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return `values[numbers]`, several times as fast.

    Args:
        numbers: (H, W) integers in [0, M).
        values: (M,) of any type.

    Returns:
        (H, W) of the type of the values.
    """
    result = np.empty(numbers.shape, dtype=values.dtype)
    _look_up(numbers.reshape(-1), values, result.reshape(-1))
    return result


def join_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return the number of each pixel, as COCO's panoptic PNGs hold ids: R + 256 G + 65536 B.

    Args:
        pixels: (H, W, 3) uint8, B, G, R.

    Returns:
        (H, W) int32.
    """
    result = np.empty(pixels.shape[:2], dtype=np.int32)
    _join_bytes(pixels, result)
    return result


@compiled
def _join_bytes(pixels: np.ndarray, result: np.ndarray) -> None:
    height, width = result.shape
    for y in range(height):
        for x in range(width):
            high, middle, low = pixels[y, x, 0], pixels[y, x, 1], pixels[y, x, 2]
            result[y, x] = np.int32(low) | np.int32(middle) << 8 | np.int32(high) << 16


@compiled
def _look_up(numbers: np.ndarray, values: np.ndarray, result: np.ndarray) -> None:
    """Fill `result` from flat numbers."""
    for i in range(len(numbers)):
        result[i] = values[numbers[i]]


@compiled
def _find_position(ids: np.ndarray, wanted: int) -> int:
    """Return the index of `wanted` in ascending `ids`, -1 if it is not among them."""
    if 0 <= wanted < len(ids) and ids[wanted] == wanted:
        return wanted  # consecutive ids from 0, such as those of classes
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if ids[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    if low < len(ids) and ids[low] == wanted:
        return low
    return -1


@compiled
def _count_pairs(
    first: np.ndarray, second: np.ndarray, first_ids: np.ndarray, second_ids: np.ndarray, counts: np.ndarray
) -> bool:
    """Fill `counts` from flat maps and ascending ids; return False, with `counts` unfinished, at an unknown id."""
    a, b = first_ids[0], second_ids[0]
    row, column, start = 0, 0, 0
    for i in range(len(first)):
        next_a, next_b = np.int64(first[i]), np.int64(second[i])
        if next_a == a and next_b == b:
            continue
        counts[row, column] += i - start
        start = i
        if next_a != a:
            a, row = next_a, _find_position(first_ids, next_a)
        if next_b != b:
            b, column = next_b, _find_position(second_ids, next_b)
        if row < 0 or column < 0:
            return False
    counts[row, column] += len(first) - start
    return True


@compiled
def _measure(ids: np.ndarray, known: np.ndarray, extents: np.ndarray) -> bool:
    """Fill `extents`, with `known` ascending; return False, with `extents` unfinished, at an unknown id."""
    height, width = ids.shape
    for y in range(height):
        start = 0
        while start < width:
            end = start + 1
            while end < width and ids[y, end] == ids[y, start]:
                end += 1
            row = _find_position(known, np.int64(ids[y, start]))
            if row < 0:
                return False
            area, top, _, left, right = extents[row]
            extents[row, 0] = area + end - start
            extents[row, 1] = top if area else y
            extents[row, 2] = y + 1
            extents[row, 3] = min(left, start) if area else start
            extents[row, 4] = max(right, end)
            start = end
    return True


@compiled
def _replace(ids: np.ndarray, known: np.ndarray, values: np.ndarray, result: np.ndarray) -> bool:
    """Fill `result`, with `known` ascending; return False, with `result` unfinished, at an unknown id."""
    height, width = ids.shape
    row = 0
    for y in range(height):
        for x in range(width):
            if known[row] != ids[y, x]:
                row = _find_position(known, np.int64(ids[y, x]))
                if row < 0:
                    return False
            result[y, x] = values[row]
    return True
