"""Figures of confusion matrices, with the groups of confused classes next to each other.

K = classes. Rows are the ground truth, columns the prediction.
"""

import textwrap
from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from unified_seg.evaluation.confusion_axes import COLORS, NORM, draw_percentages, name_classes
from unified_seg.heads.confusion_groups.matrix import compute_rates

MOST_NUMBERED = 40  # classes; the cells of more are too small for numbers

_DPI = 100
_WIDE, _NARROW = 30, 12  # pixels of a cell, with and without numbers
_NAMED = 9  # pixels of a cell from which a name fits beside it
_WIDEST = 8000  # pixels of all matrices together, so that image viewers can open the figure
_SMALLEST_SIDE = 300  # pixels of a matrix, so that the title fits above few classes
_GAP = 30  # pixels between matrices
_BAR = 16  # pixels, the width of the color bar
_LETTER = 10  # pixels of a letter of a title, at most, on average
_OUTLINES = ("tab:red", "tab:green", "tab:orange", "tab:purple", "tab:brown", "tab:pink", "tab:olive", "tab:cyan")


def draw_confusions(
    matrices: Sequence[tuple[np.ndarray, str]], class_names: Sequence[str], groups: Sequence[Iterable[int]]
) -> np.ndarray:
    """Draw `make_figure` as an image, (H, W, 3) uint8, RGB."""
    file = BytesIO()
    figure = make_figure(matrices, class_names, groups)
    figure.savefig(file, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.1, facecolor="white")
    return np.array(Image.open(file, formats=("PNG",)).convert("RGB"))


def make_figure(
    matrices: Sequence[tuple[np.ndarray, str]], class_names: Sequence[str], groups: Sequence[Iterable[int]]
) -> Figure:
    """Make a figure of confusion matrices side by side, such as before and after, in one order and the same colors.

    Each row is in percent of its class's pixels. With up to MOST_NUMBERED classes the cells show the percentages that
    do not round to 0; with very many classes the names are left out. Rows of classes that are not in the ground truth
    are hatched. Classes are in the order of `order_by_group`, and each group is outlined; the outline of a group that
    shares classes with an earlier one is in pieces.

    Args:
        matrices: at least one, each (K, K), pixels or shares of them, with its title.
        class_names: K.
        groups: ids of the classes of each; without groups the classes are in their own order.

    Returns:
        A figure that the matrices fill; names and titles are outside, so it must be saved with a tight bounding box.

    Raises:
        ValueError: a matrix that is not (K, K), or see `normalize_rows`.
    """
    size = len(class_names)
    cell = min(_WIDE if size <= MOST_NUMBERED else _NARROW, max(1, _WIDEST // (size * len(matrices))))
    side = max(size * cell, _SMALLEST_SIDE)
    width = len(matrices) * (side + _GAP) + _BAR
    figure = Figure(figsize=(width / _DPI, side / _DPI), dpi=_DPI)
    order = order_by_group(groups, size)
    for index, (confusion, title) in enumerate(matrices):
        if confusion.shape != (size, size):
            raise ValueError(f"{title}: the confusion matrix of {size} classes must be square, got {confusion.shape}")
        axes = figure.add_axes((index * (side + _GAP) / width, 0, side / width, 1))
        percent = 100 * compute_rates(confusion)[np.ix_(order, order)]
        _draw_matrix(axes, percent)
        names = [class_names[label] for label in order] if side >= size * _NAMED else []
        name_classes(axes, names, 9 if len(names) <= MOST_NUMBERED else 7, with_rows=index == 0)
        if np.isnan(percent).all(axis=1).any():
            axes.set_xlabel("prediction; hatched: not in the ground truth")
        for number, group in enumerate(groups):
            _outline(axes, [order.index(label) for label in group], _OUTLINES[number % len(_OUTLINES)])
        axes.set_title(textwrap.fill(title, side // _LETTER), fontsize=11, parse_math=False)
    bar = figure.add_axes((1 - _BAR / width, 0, _BAR / width, 1))
    figure.colorbar(ScalarMappable(NORM, COLORS), cax=bar, ticks=[0, 1, 2, 5, 10, 20, 50, 100], format="%d %%")
    return figure


def order_by_group(groups: Sequence[Iterable[int]], num_classes: int) -> list[int]:
    """Return all K class ids in the order of a figure: group after group, then the classes without a group.

    Args:
        groups: ids of the classes of each; a class in several is in the first of them.
        num_classes: K.
    """
    grouped = [label for group in groups for label in group]
    return list(dict.fromkeys([*grouped, *range(num_classes)]))


def _draw_matrix(axes: Axes, percent: np.ndarray) -> None:
    draw_percentages(axes, percent, number_size=8 if len(percent) <= MOST_NUMBERED else 0)
    for row in np.flatnonzero(np.isnan(percent).all(axis=1)):
        corner = (-0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, len(percent), 1, fill=False, hatch="////", edgecolor="0.6", linewidth=0))


def _outline(axes: Axes, places: Sequence[int], color: str) -> None:
    """Draw an outline around each block of cells whose row and column both are in `places`."""
    places = sorted(places)
    starts = [place for place in places if place - 1 not in places]
    ends = [place + 1 for place in places if place + 1 not in places]
    for (top, bottom), (left, right) in product(zip(starts, ends), repeat=2):
        block = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top)
        block.set(fill=False, edgecolor=color, linewidth=2.5, clip_on=False)
        axes.add_patch(block)
