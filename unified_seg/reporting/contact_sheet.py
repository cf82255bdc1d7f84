"""Contact sheets of equal tiles, one for each image, as JPEG files up to a size.

(h, w) = a cell of a tile.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from unified_seg.data.problems import WriteError
from unified_seg.visualization.canvas import BACKGROUND
from unified_seg.visualization.sheet import Picture, make_grid
from unified_seg_files import write_bytes

CELL_WIDTH = 256  # pixels
#: Height of a cell as a share of its width, at least and at most.
ASPECTS = (0.4, 1.4)
#: More tiles stand in two columns.
ONE_COLUMN = 4
_QUALITIES = (90, 80, 70, 60)


def choose_cell(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the size (h, w) of the cells for images of the sizes (H, W): that of the median shape."""
    aspect = min(max(median(height / width for height, width in sizes), ASPECTS[0]), ASPECTS[1])
    return round(CELL_WIDTH * aspect), CELL_WIDTH


def fit_into_cell(picture: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """Resize a picture (H, W, 3) uint8 so that it fits into a cell, centered: (h, w, 3) uint8."""
    scale = min(cell[0] / picture.shape[0], cell[1] / picture.shape[1])
    height, width = (max(1, round(scale * side)) for side in picture.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    result = np.full((*cell, 3), BACKGROUND, dtype=np.uint8)
    top, left = (cell[0] - height) // 2, (cell[1] - width) // 2
    result[top : top + height, left : left + width] = cv2.resize(picture, (width, height), interpolation=interpolation)
    return result


def make_tile(pictures: Sequence[Picture], caption: str, num_cells: int) -> Picture:
    """Return a row of cells of one size as a picture with a caption; missing ones are empty.

    Args:
        pictures: at least one, with pixels of a cell.
        caption: of the tile.
        num_cells: the number of cells of every tile.
    """
    empty = Picture(np.full_like(pictures[0].pixels, BACKGROUND), "")
    return Picture(make_grid([*pictures, *[empty] * (num_cells - len(pictures))], num_cells), caption)


def arrange_tiles(tiles: Sequence[Picture]) -> np.ndarray:
    """Arrange at least one tile below each other, many of them in two columns: (H, W, 3) uint8."""
    return make_grid(list(tiles), 1 if len(tiles) <= ONE_COLUMN else 2)


def write_jpeg(file: Path, picture: np.ndarray, max_bytes: int) -> None:
    """Write a picture as a JPEG of at most `max_bytes`, with a lower quality and then smaller if need be.

    Args:
        file: its folder is created if need be.
        picture: (H, W, 3) uint8, RGB.
        max_bytes: of the file.

    Raises:
        WriteError: it can't be written, with the cause.
    """
    try:
        write_bytes(file, next(data for data in _encode_smaller_and_smaller(picture) if len(data) <= max_bytes))
    except (OSError, ValueError, cv2.error) as error:
        raise WriteError.from_error(error, file) from None


def _encode_smaller_and_smaller(picture: np.ndarray) -> Iterator[bytes]:
    while True:
        for quality in _QUALITIES:
            is_encoded, data = cv2.imencode(".jpg", picture[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
            if is_encoded:  # a JPEG has at most 65,500 pixels a side
                yield data.tobytes()
        size = (max(1, picture.shape[1] * 3 // 4), max(1, picture.shape[0] * 3 // 4))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
