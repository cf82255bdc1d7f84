"""What changes from one semantic map to another, seen beside the ground truth: before and after a fusion, or of two models.

T: (H, W) = the image; labels are semantic ids.
"""

from typing import NamedTuple

import numpy as np

from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.canvas import Segment, draw_segments, to_canvas
from unified_seg.visualization.panels import Panel, make_panels
from unified_seg.visualization.sheet import add_caption, make_grid

BETTER = (0, 230, 60)
WORSE = (255, 30, 30)
# What is painted apart stands out from classes that are mixed with this much gray.
FADED, FADED_GREY = 0.65, 110


class LabelMaps(NamedTuple):
    """(H, W) labels of one image: the ground truth, and the two answers to compare."""

    ground_truth: np.ndarray
    before: np.ndarray
    after: np.ndarray


class SemanticChange(NamedTuple):
    """Attributes: shares of the labeled pixels that are right, in percent."""

    before: float
    after: float

    @property
    def gain(self) -> float:
        """In percentage points, below 0 for a loss."""
        return self.after - self.before


def measure_change(maps: LabelMaps, table: ClassTable) -> SemanticChange:
    """Count the right pixels of two semantic maps.

    Args:
        maps: of one image; pixels whose ground truth is the ignore label do not count.
        table: gives the ignore label.

    Returns:
        The change; NaN where no pixel is labeled.

    Raises:
        ValueError: maps of different sizes.
    """
    _check_sizes(maps)
    labeled = maps.ground_truth != table.ignore_label
    total = int(labeled.sum())
    if not total:
        return SemanticChange(float("nan"), float("nan"))
    right = [100 * int((labels == maps.ground_truth)[labeled].sum()) / total for labels in (maps.before, maps.after)]
    return SemanticChange(right[0], right[1])


def draw_change(
    image: np.ndarray, maps: LabelMaps, table: ClassTable, names: tuple[str, str]
) -> tuple[np.ndarray, list[Panel]]:
    """A row of four pictures: the image, its ground truth, the semantic map before, and the one after.

    In the last, pixels that became right are green, pixels that became wrong are red, and the other ones are faded.

    Args:
        image: (H, W, 3) uint8, RGB.
        maps: of the image.
        table: of the labels.
        names: of the two answers, for the captions.

    Returns:
        The row, (h, w, 3) uint8, RGB; and the panels in it, for a legend of their classes (`add_legend`).

    Raises:
        ValueError: maps of different sizes, or an id that the class table lacks.
    """
    _check_sizes(maps)
    panels = [make_panels({"sem_seg_labels": labels}, table)["semantic"] for labels in maps]
    pictures = [
        add_caption(to_canvas(image), f"input {image.shape[1]}×{image.shape[0]}"),
        panels[0].draw(image, "truth · "),
        panels[1].draw(image, f"{names[0]} · "),
        _draw_after(image, maps, panels[2], table, names[1]),
    ]
    return make_grid(pictures, len(pictures)), panels


def _draw_after(image: np.ndarray, maps: LabelMaps, panel: Panel, table: ClassTable, name: str) -> np.ndarray:
    ground_truth, before, after = maps
    labeled = ground_truth != table.ignore_label
    better = labeled & (before != ground_truth) & (after == ground_truth)
    worse = labeled & (before == ground_truth) & (after != ground_truth)
    # Ids of their own for what changed, so that the names there say what it became.
    step = table.num_semantic + 1
    ids = panel.ids + step * better + 2 * step * worse
    names = {segment.id: segment.label for segment in panel.segments}
    segments = [Segment(s.id, _faded(s.color), s.label, is_thing=False) for s in panel.segments]
    for start, color in ((step, BETTER), (2 * step, WORSE)):
        changed = np.unique(ids[(ids >= start) & (ids < start + step)]).tolist()
        segments += [Segment(i, color, names.get(i - start, "void"), is_thing=False) for i in changed]
    picture = draw_segments(image, ids, segments, opacity=panel.opacity, hatch_void=panel.hatch_void)
    return add_caption(picture, f"{name}: {int(better.sum())} pixels better (green), {int(worse.sum())} worse (red)")


def _faded(color: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round((1 - FADED) * channel + FADED * FADED_GREY) for channel in color)
    return red, green, blue


def _check_sizes(maps: LabelMaps) -> None:
    if len({labels.shape for labels in maps}) > 1:
        raise ValueError(f"semantic maps of different sizes: {[labels.shape for labels in maps]}")
