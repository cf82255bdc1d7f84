"""Pictures put together: captions, a legend of classes, grids and contact sheets.

T: every picture is (height, width, 3) uint8, RGB.
"""

from collections.abc import Sequence

import numpy as np
from detectron2.utils.visualizer import VisImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from unified_seg.visualization.canvas import BACKGROUND, FOREGROUND
from unified_seg.visualization.colors import Color

CAPTION_SIZE = 10.0  # points
_LINE = 22  # pixels of a line of text, with its margins
_GAP = 4  # pixels between pictures
_SMALLEST_WIDTH = 160  # pixels: a caption above a narrower picture could not be read


def add_caption(picture: np.ndarray, caption: str) -> np.ndarray:
    """The picture under a strip with the caption; a narrow picture is centerd on a wider background."""
    height, width = picture.shape[:2]
    strip_width = max(width, _SMALLEST_WIDTH)
    strip = draw_text_strip(caption, strip_width)
    body = _blank(height, strip_width)
    left = (strip_width - width) // 2
    body[:, left : left + width] = picture
    return np.concatenate([strip, body])


def draw_text_strip(text: str, width: int) -> np.ndarray:
    """One line of text, cut with an ellipsis where it does not fit.

    Returns:
        (22, width, 3) uint8.
    """
    strip = VisImage(_blank(_LINE, width))
    drawn = _text(strip, 6, _LINE / 2, text)
    room, kept = width - 4, text
    while kept and (end := _right_end(strip, drawn)) > room:
        # Letters differ in width: shorten in proportion, by one at least, until it fits.
        kept = kept[: min(len(kept) - 1, int(len(kept) * room / end) + 1)]
        drawn.set_text(_literal(kept.rstrip() + "…"))
    return strip.get_image()


def draw_legend(entries: Sequence[tuple[str, Color]], width: int) -> np.ndarray:
    """Swatches with names, in as many columns as fit.

    Args:
        entries: (name, RGB) in the order to show; none gives a picture without rows.
        width: of the picture, in pixels.
    """
    if not entries:
        return _blank(0, width)
    measure = VisImage(_blank(_LINE, width))
    widest = max(_right_end(measure, _text(measure, 0, _LINE / 2, name)) for name, _ in entries)
    cell = widest + 34
    columns = max(1, int((width - 6) // cell))
    rows = -(-len(entries) // columns)
    legend = VisImage(_blank(rows * _LINE + _GAP, width))
    for index, (name, color) in enumerate(entries):
        x, y = 6 + (index % columns) * cell, (index // columns) * _LINE + _GAP // 2
        face = tuple(channel / 255 for channel in color)
        legend.ax.add_patch(Rectangle((x, y + 4), 16, _LINE - 8, facecolor=face, edgecolor="0.6", linewidth=0.5))
        _text(legend, x + 22, y + _LINE / 2, name)
    return legend.get_image()


def make_grid(pictures: Sequence[np.ndarray], columns: int, captions: Sequence[str] | None = None) -> np.ndarray:
    """Pictures in rows of `columns`, each in the upper left of its cell.

    Raises:
        ValueError: no picture, no column, or a number of captions that differs from that of the pictures.
    """
    if not pictures or columns < 1:
        raise ValueError(f"a grid needs pictures and columns, got {len(pictures)} pictures and {columns} columns")
    if captions is not None:
        if len(captions) != len(pictures):
            raise ValueError(f"{len(captions)} captions for {len(pictures)} pictures")
        pictures = [add_caption(picture, caption) for picture, caption in zip(pictures, captions)]
    columns = min(columns, len(pictures))
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    widths = [max(row[c].shape[1] for row in rows if c < len(row)) for c in range(columns)]
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    sheet = _blank(sum(heights) + _GAP * (len(rows) - 1), sum(widths) + _GAP * (columns - 1))
    top = 0
    for row, height in zip(rows, heights):
        left = 0
        for picture, width in zip(row, widths):
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            left += width + _GAP
        top += height + _GAP
    return sheet


def make_contact_sheet(rows: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Captioned pictures below each other, such as one row of panels for each image of a data set.

    Raises:
        ValueError: no picture.
    """
    return make_grid([picture for _, picture in rows], 1, [caption for caption, _ in rows])


def stack_pictures(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures below each other, without captions; those without rows are left out."""
    return make_grid([picture for picture in pictures if picture.shape[0]], 1)


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), BACKGROUND, dtype=np.uint8)


def _literal(text: str) -> str:
    return text.replace("$", r"\$")  # otherwise matplotlib reads a formula


def _text(picture: VisImage, x: float, y: float, text: str) -> Text:
    color = tuple(channel / 255 for channel in FOREGROUND)
    return picture.ax.text(x, y, _literal(text), size=CAPTION_SIZE, family="sans-serif", color=color, va="center")


def _right_end(picture: VisImage, text: Text) -> float:
    return text.get_window_extent(picture.canvas.get_renderer()).x1
