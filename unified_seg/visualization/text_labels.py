"""Text labels of segments, at positions where they can be read and hide little.

(h, w) = the canvas, in pixels; x to the right, y down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from unified_seg.ops.boxes import find_tight_box
from unified_seg.visualization.colors import Color
from unified_seg.visualization.pixel_figure import PixelFigure

# A label inside a segment covers at least this fraction of pixels of the segment.
MIN_INSIDE = 0.65
# A label beside a thing covers at most this fraction of pixels of other things.
MAX_HIDDEN = 0.1
# If the labels of things would cover more than this, only those inside segments are written: a legend has the names.
MAX_COVERED = 0.1
# Of a letter in line heights, and of a line with its background.
LETTER_WIDTH, LINE_HEIGHT = 0.6, 1.3


@dataclass(frozen=True)
class TextLabel:
    """The label of a segment.

    Attributes:
        id: the value of the segment in the map of ids.
        text: of any characters.
        color: of the segment, RGB, 0 to 255.
        is_thing: whether the label may be above or below the segment, and not only inside.
        box: (4,), x0, y0, x1, y1 on the canvas, if the box of the thing is drawn; the label is then at the box.
    """

    id: int
    text: str
    color: Color
    is_thing: bool
    box: np.ndarray | None


@dataclass(frozen=True)
class _Position:
    x: float
    y: float
    is_inside: bool


class SegmentVisualizer(PixelFigure):
    """Boxes, and labels of any characters that do not overlap, in the style of Detectron2's Visualizer."""

    def draw_box(self, box: Sequence[float], color: Sequence[float]) -> None:
        """Draw the outline of a box x0, y0, x1, y1 in an RGB color, 0 to 1."""
        self.draw_rectangle(*box, fill=False, edgecolor=color, linewidth=0.11 * compute_font_size(self.width))

    def draw_text(self, text: str, position: tuple[float, float], color: Sequence[float]) -> Text:
        """Draw a text in fonts that have its characters, centered at a position, on a dark background."""
        bright = np.maximum(color, 0.2)
        bright[np.argmax(bright)] = max(0.8, np.max(bright))
        box = {"facecolor": "black", "alpha": 0.8, "pad": 0.7, "edgecolor": "none"}
        options: dict[str, Any] = {"size": compute_font_size(self.width), "color": bright, "bbox": box, "zorder": 10}
        x, y = position
        return self.write(x, y, text, va="center", ha="center", **options)

    def write_labels(self, labels: Sequence[TextLabel], ids: np.ndarray) -> None:
        """Write the labels for which there is room: things first, large segments before small ones.

        Of very many things, see MAX_COVERED, only those have a label that have room for it.

        Args:
            labels: at most one per id.
            ids: (h, w), the map of segment ids.
        """
        present, counts = np.unique(ids, return_counts=True)
        area_of = dict(zip(present.tolist(), counts.tolist()))
        things = np.isin(ids, [label.id for label in labels if label.is_thing])
        free = np.ones(ids.shape, dtype=bool)
        line = compute_font_size(ids.shape[1]) * self.dpi / 72
        letters = sum(len(label.text) for label in labels if label.is_thing and label.id in area_of)
        is_crowded = letters * LETTER_WIDTH * LINE_HEIGHT * line**2 > MAX_COVERED * ids.size
        for label in sorted(labels, key=lambda label: (not label.is_thing, -area_of.get(label.id, 0), label.id)):
            if not label.text or (label.id not in area_of and label.box is None):
                continue
            mask = ids == label.id
            positions = _list_positions(label, mask, line, is_crowded)
            # The label of a drawn box contains its score: it may cover other things.
            tolerances = (MAX_HIDDEN, 1.0) if label.box is not None else (MAX_HIDDEN,)
            others = things & ~mask
            for max_hidden in tolerances:
                if self._write_label(label, positions, mask, others, free, max_hidden):
                    break

    def _write_label(
        self,
        label: TextLabel,
        positions: list[_Position],
        mask: np.ndarray,
        others: np.ndarray,
        free: np.ndarray,
        max_hidden: float,
    ) -> bool:
        """Write a label at the first suitable position and mark its window in `free`; return whether there is one."""
        if not positions:
            return False
        drawn = self.draw_text(label.text, (0, 0), tuple(0.3 * channel / 255 + 0.7 for channel in label.color))
        # Measured once: in matplotlib that takes longer than all else here. Elsewhere the text has the same size.
        extent = self.measure(drawn).padded(1)
        for position in positions:
            window = self._find_window(extent, position)
            if window is not None and free[window].all():
                covered = mask if position.is_inside else others
                share = covered[window].mean()
                if share >= MIN_INSIDE if position.is_inside else share <= max_hidden:
                    drawn.set_position((position.x, position.y))
                    free[window] = False
                    return True
        drawn.remove()
        return False

    def _find_window(self, extent: Bbox, position: _Position) -> tuple[slice, slice] | None:
        """Return the rows and columns that a text with this extent at (0, 0) covers elsewhere; None outside."""
        (dx, dy), height, width = self.find_display_offset(position.x, position.y), self.height, self.width
        x0, y0, x1, y1 = extent.x0 + dx, extent.y0 + dy, extent.x1 + dx, extent.y1 + dy
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            return None
        # matplotlib's y points up
        return slice(int(height - y1), int(height - y0) + 1), slice(int(x0), int(x1) + 1)


def compute_font_size(width: int) -> float:
    """Return the font size in points for a picture of this width in pixels."""
    return float(np.clip(6 + width / 170, 8, 20))


def _list_positions(label: TextLabel, mask: np.ndarray, line: float, only_inside: bool) -> list[_Position]:
    """Return the possible positions of a label with this line height, the best first."""
    positions = _find_deep_positions(mask, line) if label.box is None or only_inside else []
    if label.is_thing and not only_inside:
        box = label.box
        if box is None:
            box = np.array(find_tight_box(torch.from_numpy(mask)))
        middle, above, below = (box[0] + box[2]) / 2, box[1] - 0.8 * line, box[3] + 0.8 * line
        positions += [
            _Position(middle, above, False),
            _Position(middle, below, False),
            _Position(middle, box[1] + 0.8 * line, True),
        ]
    return positions


def _find_deep_positions(mask: np.ndarray, line: float) -> list[_Position]:
    """Return up to three positions far from the border of a region, the farthest first."""
    # The padding makes the border of the picture a border of the region.
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    reach_y, reach_x = int(2 * line), int(4 * line)
    positions = []
    for _ in range(3):
        deepest = depth.max()
        if deepest <= 0.7 * line:
            break
        # A long region is about equally deep along its middle line: take the middle of the line.
        deep = np.argwhere(depth >= 0.85 * deepest)
        y, x = (int(i) for i in deep[np.square(deep - deep.mean(axis=0)).sum(axis=1).argmin()])
        positions.append(_Position(x + 0.5, y + 0.5, True))
        depth[max(0, y - reach_y) : y + reach_y, max(0, x - reach_x) : x + reach_x] = 0
    return positions
