"""Changes from one semantic map to another, compared to the ground truth: before and after a fusion, or of two models.

(H, W) = the image; labels are semantic ids.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.canvas import PaintedSegment
from unified_seg.visualization.colors import Color
from unified_seg.visualization.overview import draw_input
from unified_seg.visualization.panels import Panel, make_semantic_panel
from unified_seg.visualization.sheet import make_grid

BETTER = (0, 230, 60)
WORSE = (255, 30, 30)
# Colors of classes are mixed with this fraction of this gray, so that changes are visible.
FADE, FADE_GRAY = 0.65, 110


class LabelMaps(NamedTuple):
    """Labels (H, W) of one image: the ground truth, and the two predictions to compare."""

    ground_truth: np.ndarray
    before: np.ndarray
    after: np.ndarray


class PercentChange(NamedTuple):
    """A score in percent before and after: the share of labeled pixels that are correct, or another one."""

    before: float
    after: float

    @property
    def gain(self) -> float:
        """In percentage points; negative for a loss."""
        return self.after - self.before


def measure_change(maps: LabelMaps, table: ClassTable) -> PercentChange:
    """Count the correct pixels of two semantic maps.

    Args:
        maps: of one image; pixels with the ignore label in the ground truth do not count.
        table: gives the ignore label.

    Returns:
        The change; NaN without labeled pixels.

    Raises:
        ValueError: the maps differ in size.
    """
    _check_sizes(maps)
    labeled = maps.ground_truth != table.ignore_label
    total = int(labeled.sum())
    if not total:
        return PercentChange(float("nan"), float("nan"))
    before, after = (100 * int((labels == maps.ground_truth)[labeled].sum()) / total for labels in maps[1:])
    return PercentChange(before, after)


def draw_change(
    image: np.ndarray, maps: LabelMaps, table: ClassTable, names: tuple[str, str]
) -> tuple[np.ndarray, list[Panel]]:
    """Draw a row of four pictures: the image, its ground truth, the semantic map before, and the one after.

    Args:
        image: (H, W, 3) uint8, RGB.
        maps, table, names: see `make_change_panels`.

    Returns:
        The row, (h, w, 3) uint8, RGB; and its panels, for a legend (`add_legend`).

    Raises:
        ValueError: see `make_change_panels`.
    """
    panels = make_change_panels(maps, table, names)
    pictures = [draw_input(image), *(panel.draw(image) for panel in panels)]
    return make_grid(pictures, len(pictures)), panels


def make_change_panels(maps: LabelMaps, table: ClassTable, names: tuple[str, str]) -> list[Panel]:
    """Create panels of the ground truth, the semantic map before, and the one after.

    In the last, pixels that became correct are green, pixels that became wrong are red, and the others are faded.

    Args:
        maps: of one image.
        table: the classes.
        names: of the two predictions, for the captions.

    Raises:
        ValueError: the maps differ in size, or have an id that is not in the class table.
    """
    _check_sizes(maps)
    ground_truth, before, after = (make_semantic_panel({"sem_seg_labels": labels}, table) for labels in maps)
    changes = _mark_changes(after, maps, table, names[1])
    return [ground_truth.prefix("ground truth"), before.prefix(names[0]), changes]


def _mark_changes(panel: Panel, maps: LabelMaps, table: ClassTable, name: str) -> Panel:
    ground_truth, before, after = maps
    labeled = ground_truth != table.ignore_label
    better = labeled & (before != ground_truth) & (after == ground_truth)
    worse = labeled & (before == ground_truth) & (after != ground_truth)
    # Changed pixels get ids of their own, so that their labels name the class after the change.
    step = table.num_semantic + 1
    ids = panel.ids + step * better + 2 * step * worse
    labels = {segment.id: segment.label for segment in panel.segments}
    segments = [replace(segment, color=_fade(segment.color)) for segment in panel.segments]
    for start, color in ((step, BETTER), (2 * step, WORSE)):
        changed = np.unique(ids[(ids >= start) & (ids < start + step)]).tolist()
        segments += [PaintedSegment(i, color, labels.get(i - start, "void"), is_thing=False) for i in changed]
    caption = f"{name}: {int(better.sum())} pixels better (green), {int(worse.sum())} worse (red)"
    return replace(panel, caption=caption, ids=ids, segments=segments)


def _fade(color: Color) -> Color:
    red, green, blue = (round((1 - FADE) * channel + FADE * FADE_GRAY) for channel in color)
    return red, green, blue


def _check_sizes(maps: LabelMaps) -> None:
    if len({labels.shape for labels in maps}) > 1:
        raise ValueError(f"semantic maps must have one size, got {[labels.shape for labels in maps]}")
