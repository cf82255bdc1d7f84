"""Layout of pictures: captions, a legend of classes, grids and contact sheets.

Pixels of a picture are (h, w, 3) uint8, RGB.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.text import Text

from unified_seg.visualization.canvas import BACKGROUND, FOREGROUND
from unified_seg.visualization.colors import Color
from unified_seg.visualization.pixel_figure import PixelFigure, escape

CAPTION_SIZE = 10.0  # points
_LINE = 22  # height of a line of text with its margins, pixels
_GAP = 4  # pixels between pictures
_MIN_WIDTH = 160  # pixels: the caption of a narrower picture could not be read


@dataclass(frozen=True)
class Picture:
    """Pixels with a caption."""

    pixels: np.ndarray
    caption: str


def add_caption(picture: Picture) -> np.ndarray:
    """Draw a picture below its caption; a narrow picture is centered on a wider background."""
    height, width = picture.pixels.shape[:2]
    strip_width = max(width, _MIN_WIDTH)
    body = _make_blank(height, strip_width)
    left = (strip_width - width) // 2
    body[:, left : left + width] = picture.pixels
    return np.concatenate([draw_text_strip(picture.caption, strip_width), body])


def draw_text_strip(text: str, width: int) -> np.ndarray:
    """Draw one line of text, shortened with an ellipsis if it is too long.

    Returns:
        (22, width, 3) uint8.
    """
    strip = PixelFigure(_make_blank(_LINE, width))
    drawn = _write(strip, 6, _LINE / 2, text)
    room, kept = width - 4, text
    while kept and (end := strip.measure(drawn).x1) > room:
        # Letters differ in width, so shorten in proportion, by at least one letter, until it fits.
        kept = kept[: min(len(kept) - 1, int(len(kept) * room / end) + 1)]
        drawn.set_text(escape(kept.rstrip() + "…"))
    return strip.get_image()


def draw_legend(entries: Sequence[tuple[str, Color]], width: int) -> np.ndarray:
    """Draw swatches with names, in as many columns as fit.

    Args:
        entries: (name, RGB) in their order; without any the result has no rows.
        width: of the result, in pixels.
    """
    if not entries:
        return _make_blank(0, width)
    strip = PixelFigure(_make_blank(_LINE, width))
    widest = max(strip.measure(_write(strip, 0, _LINE / 2, name)).x1 for name, _ in entries)
    cell = widest + 34
    columns = max(1, int((width - 6) // cell))
    rows = -(-len(entries) // columns)
    legend = PixelFigure(_make_blank(rows * _LINE + _GAP, width))
    for index, (name, color) in enumerate(entries):
        x, y = 6 + (index % columns) * cell, (index // columns) * _LINE + _GAP // 2
        face = tuple(channel / 255 for channel in color)
        legend.draw_rectangle(x, y + 4, x + 16, y + _LINE - 4, facecolor=face, edgecolor="0.6", linewidth=0.5)
        _write(legend, x + 22, y + _LINE / 2, name)
    return legend.get_image()


def make_grid(pictures: Sequence[Picture | np.ndarray], columns: int) -> np.ndarray:
    """Arrange pictures in rows of `columns`, each at the upper left of its cell; a `Picture` is below its caption.

    Raises:
        ValueError: there is no picture or no column.
    """
    if not pictures or columns < 1:
        raise ValueError(f"a grid needs pictures and columns, got {len(pictures)} pictures and {columns} columns")
    drawn = [add_caption(picture) if isinstance(picture, Picture) else picture for picture in pictures]
    columns = min(columns, len(drawn))
    rows = [drawn[start : start + columns] for start in range(0, len(drawn), columns)]
    widths = [max(row[c].shape[1] for row in rows if c < len(row)) for c in range(columns)]
    heights = [max(pixels.shape[0] for pixels in row) for row in rows]
    sheet = _make_blank(sum(heights) + _GAP * (len(rows) - 1), sum(widths) + _GAP * (columns - 1))
    top = 0
    for row, height in zip(rows, heights):
        left = 0
        for pixels, width in zip(row, widths):
            sheet[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
            left += width + _GAP
        top += height + _GAP
    return sheet


def stack_pictures(pictures: Sequence[Picture | np.ndarray]) -> np.ndarray:
    """Arrange pictures below each other, without those that have no rows.

    Raises:
        ValueError: there is no picture.
    """
    return make_grid([p for p in pictures if isinstance(p, Picture) or p.shape[0]], 1)


def _make_blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), BACKGROUND, dtype=np.uint8)


def _write(picture: PixelFigure, x: float, y: float, text: str) -> Text:
    color = tuple(channel / 255 for channel in FOREGROUND)
    return picture.write(x, y, text, size=CAPTION_SIZE, color=color, va="center")
