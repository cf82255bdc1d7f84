"""Masks of polygons, equal to those of pycocotools, without a mask of the image's size.

pycocotools rounds corners to fifths of a pixel, walks along each edge in steps of a fifth, and notes in which row it
crosses the center of a column. A pixel is inside if the number of crossings above it in its column is odd.
"""

from collections.abc import Sequence

import numpy as np

from unified_seg_arrays.compiled import compiled

# Steps of an edge in a pixel, and the one before the center of the pixel.
STEPS, BEFORE_CENTER = 5, 2


def draw_polygons(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> tuple[int, int, np.ndarray]:
    """Draw the polygons of an instance as pycocotools does.

    Args:
        polygons: (P, 2) each, x and y in pixels, also outside of the image.
        size: (H, W) of the image.

    Returns:
        The top row, the left column and the mask (h, w) bool of a part of the image.
    """
    if not polygons:
        return 0, 0, np.zeros((0, 0), dtype=bool)
    # As in C, the conversion to integers drops the fraction.
    corners = (STEPS * np.concatenate(polygons) + 0.5).astype(np.int64)
    left, top = (corners.min(axis=0) // STEPS).clip(min=0).tolist()
    right, bottom = (corners.max(axis=0) // STEPS + 1).clip(max=size[::-1]).tolist()
    if left >= right or top >= bottom:
        return 0, 0, np.zeros((0, 0), dtype=bool)
    mask = np.zeros((bottom - top, right - left), dtype=bool)
    _draw(corners, np.cumsum([len(polygon) for polygon in polygons], dtype=np.int64), top, left, mask)
    return top, left, mask


@compiled
def _draw(corners: np.ndarray, ends: np.ndarray, top: int, left: int, mask: np.ndarray) -> None:
    """Draw polygons, each up to one of the `ends` of all corners, into a mask that no column center is above."""
    height, width = mask.shape
    crossed = np.zeros((height, width), dtype=np.bool_)
    start = 0
    for end in ends:
        crossed[:] = False
        for corner in range(start, end):
            following = corner + 1 if corner + 1 < end else start
            _cross(corners[corner], corners[following], top, left, crossed)
        inside = np.zeros(width, dtype=np.bool_)
        for y in range(height):
            for x in range(width):
                inside[x] ^= crossed[y, x]
                mask[y, x] |= inside[x]
        start = end


@compiled
def _cross(corner: np.ndarray, following: np.ndarray, top: int, left: int, crossed: np.ndarray) -> None:
    """Switch the pixels below which an edge crosses the center of a column."""
    along_x = abs(following[0] - corner[0]) >= abs(following[1] - corner[1])
    axis = 0 if along_x else 1
    # The rounding depends on the direction: always toward higher values of the longer side.
    first, last = (corner, following) if corner[axis] <= following[axis] else (following, corner)
    steps = last[axis] - first[axis]
    slope = (last[1 - axis] - first[1 - axis]) / max(steps, 1)
    x, y = first
    for step in range(1, steps + 1):
        # As in C, the conversion to integers drops the fraction.
        moved = int(first[1 - axis] + slope * step + 0.5)
        next_x, next_y = (first[0] + step, moved) if along_x else (moved, first[1] + step)
        if next_x != x and (min(x, next_x) - BEFORE_CENTER) % STEPS == 0:
            column, row = (min(x, next_x) - BEFORE_CENTER) // STEPS - left, (min(y, next_y) + BEFORE_CENTER) // STEPS
            if 0 <= column < crossed.shape[1] and row - top < crossed.shape[0]:
                crossed[max(row - top, 0), column] ^= True
        x, y = next_x, next_y
