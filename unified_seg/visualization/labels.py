"""The names written on a picture: where each is read best, and none where it would hide more than it tells.

T: (h, w) = the canvas, in pixels; x to the right, y down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.utils.visualizer import VisImage, Visualizer

from unified_seg.ops.boxes import find_tight_box
from unified_seg.visualization.colors import Color

# A name inside a region lies on this share of its own pixels at least; one beside a thing hides no more of others.
INSIDE_SHARE = 0.65
HIDDEN_SHARE = 0.1


@dataclass(frozen=True)
class Label:
    """A name to write.

    Attributes:
        id: the value of its segment in the map of ids.
        text: the name, of any characters.
        color: RGB, 0 to 255, of the segment.
        is_thing: a thing's name may stand above or below it; that of a region only inside.
        box: (4,), x0, y0, x1, y1 on the canvas, if the thing's box is drawn: its name then stands beside the box.
    """

    id: int
    text: str
    color: Color
    is_thing: bool
    box: np.ndarray | None


@dataclass(frozen=True)
class _Spot:
    x: float
    y: float
    inside: bool


class SegmentVisualizer(Visualizer):
    """Detectron2's Visualizer, with names that may hold any character and never cover each other."""

    def draw_text(self, text: str, position: Sequence[float], **options: Any) -> VisImage:
        """As the base class does, but a `$` is a dollar: matplotlib would read a formula, and fail on most."""
        return super().draw_text(text.replace("$", r"\$"), position, **options)

    def write_labels(self, labels: Sequence[Label], ids: np.ndarray) -> None:
        """Write the names that have room: things first, large before small.

        Args:
            labels: without two of one id.
            ids: (h, w), the map of segment ids.
        """
        present, counts = np.unique(ids, return_counts=True)
        area_of = dict(zip(present.tolist(), counts.tolist()))
        things = np.isin(ids, [label.id for label in labels if label.is_thing])
        free = np.ones(ids.shape, dtype=bool)
        line = compute_font_size(ids.shape[1]) * self.output.dpi / 72
        for label in sorted(labels, key=lambda label: (not label.is_thing, -area_of.get(label.id, 0), label.id)):
            if not label.text or (label.id not in area_of and label.box is None):
                continue
            mask = ids == label.id
            spots = _spots(label, mask, line)
            # The score beside a drawn box can't be read elsewhere: rather over another thing than nowhere.
            tolerances = (HIDDEN_SHARE, 1.0) if label.box is not None else (HIDDEN_SHARE,)
            others = things & ~mask
            any(self._try_spots(label, spots, mask, others, free, hidden_share) for hidden_share in tolerances)

    def _try_spots(
        self, label: Label, spots: list[_Spot], mask: np.ndarray, others: np.ndarray, free: np.ndarray, hidden: float
    ) -> bool:
        color = tuple(0.3 * channel / 255 + 0.7 for channel in label.color)
        for spot in spots:
            self.draw_text(label.text, (spot.x, spot.y), font_size=compute_font_size(free.shape[1]), color=color)
            drawn = self.output.ax.texts[-1]
            drawn.set_verticalalignment("center")
            window = self._window(drawn)
            if window is not None and free[window].all():
                suits = mask[window].mean() >= INSIDE_SHARE if spot.inside else others[window].mean() <= hidden
                if suits:
                    free[window] = False
                    return True
            drawn.remove()
        return False

    def _window(self, drawn: Any) -> tuple[slice, slice] | None:
        """Rows and columns that a text covers, with a margin of a pixel; None if it leaves the picture."""
        extent = drawn.get_window_extent(self.output.canvas.get_renderer()).padded(1)
        height, width = self.output.height, self.output.width
        if extent.x0 < 0 or extent.y0 < 0 or extent.x1 > width or extent.y1 > height:
            return None
        # matplotlib's y points up
        return slice(int(height - extent.y1), int(height - extent.y0) + 1), slice(int(extent.x0), int(extent.x1) + 1)


def compute_font_size(width: int) -> float:
    """The font size, in points, for a picture of this many pixels across."""
    return float(np.clip(6 + width / 170, 8, 20))


def _spots(label: Label, mask: np.ndarray, line: float) -> list[_Spot]:
    """Where a name with this height of line may stand, the best place first."""
    spots = _deep_places(mask, line) if label.box is None else []
    if label.is_thing:
        box = label.box
        if box is None:
            box = np.array(find_tight_box(torch.from_numpy(mask)))
        middle, above, below = (box[0] + box[2]) / 2, box[1] - 0.8 * line, box[3] + 0.8 * line
        spots += [_Spot(middle, above, False), _Spot(middle, below, False), _Spot(middle, box[1] + 0.8 * line, True)]
    return spots


def _deep_places(mask: np.ndarray, line: float) -> list[_Spot]:
    """Up to three places far from the border of a region, the farthest first."""
    # The padding makes the border of the picture one of the region.
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    reach_y, reach_x = int(2 * line), int(4 * line)
    places = []
    for _ in range(3):
        deepest = depth.max()
        if deepest <= 0.7 * line:
            break
        # A long region is about equally deep along its middle line: take the middle of that.
        deep = np.argwhere(depth >= 0.85 * deepest)
        y, x = (int(i) for i in deep[np.square(deep - deep.mean(axis=0)).sum(axis=1).argmin()])
        places.append(_Spot(x + 0.5, y + 0.5, True))
        depth[max(0, y - reach_y) : y + reach_y, max(0, x - reach_x) : x + reach_x] = 0
    return places
