"""Confusion matrices as pictures: what is taken for what, the groups of confused classes next to each other.

K = classes. In a confusion matrix rows are the ground truth and columns the prediction.
"""

import textwrap
from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import product

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from unified_seg.heads.confusion_groups.proposal import confusion_rates, group_order

MOST_NUMBERED = 40  # classes; the cells of more are too small for numbers

_DPI = 100
_WIDE, _NARROW = 30, 12  # pixels of a cell, with and without numbers
_NAMED = 9  # pixels of a cell from which a name fits beside it
_WIDEST = 8000  # pixels of all matrices together: a picture that programs still open
_SMALLEST_SIDE = 300  # pixels of a matrix: that of few classes has a title too
_GAP = 30  # pixels between matrices
_BAR = 16  # pixels, the width of the color bar
_LETTER = 10  # pixels that a letter of a title takes at most, on average
# Of 0 to 100 %. With a plain scale one could not see the few percent that confusion is about beside the diagonal.
_NORM = PowerNorm(0.4, 0, 100)
_COLORS = colormaps["Blues"].with_extremes(bad="0.9")
_OUTLINES = ("tab:red", "tab:green", "tab:orange", "tab:purple", "tab:brown", "tab:pink", "tab:olive", "tab:cyan")


def draw_confusions(
    matrices: Sequence[tuple[np.ndarray, str]], class_names: Sequence[str], groups: Sequence[Iterable[int]]
) -> np.ndarray:
    """`confusion_figure` as a picture.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    file = BytesIO()
    figure = confusion_figure(matrices, class_names, groups)
    figure.savefig(file, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.1, facecolor="white")
    return np.array(Image.open(file).convert("RGB"))


def confusion_figure(
    matrices: Sequence[tuple[np.ndarray, str]], class_names: Sequence[str], groups: Sequence[Iterable[int]]
) -> Figure:
    """Confusion matrices side by side, such as before and after, in one order and in the same colors.

    Each row is in percent of its class's pixels. The percent, where they aren't rounded to 0, stand in the cells of up
    to MOST_NUMBERED classes; the cells of very many classes are too small for names. Rows of classes that were never
    seen are hatched. Classes stand in `group_order`, and each group is outlined, one that shares classes with an
    earlier group in pieces.

    Args:
        matrices: at least one, each (K, K), pixels or shares of them, with its title.
        class_names: K.
        groups: ids of the classes of each; none keeps the classes in their own order.

    Returns:
        A figure that the matrices fill. Names and titles stand around it, so it is to be saved with a tight box.

    Raises:
        ValueError: a matrix that is not of K classes, or as `normalize_rows`.
    """
    size = len(class_names)
    cell = min(_WIDE if size <= MOST_NUMBERED else _NARROW, max(1, _WIDEST // (size * len(matrices))))
    side = max(size * cell, _SMALLEST_SIDE)
    width = len(matrices) * (side + _GAP) + _BAR
    figure = Figure(figsize=(width / _DPI, side / _DPI), dpi=_DPI)
    order = group_order(groups, size)
    for index, (confusion, title) in enumerate(matrices):
        if confusion.shape != (size, size):
            raise ValueError(f"{title}: {size} classes and a confusion matrix of the shape {confusion.shape}")
        axes = figure.add_axes((index * (side + _GAP) / width, 0, side / width, 1))
        _draw_matrix(axes, 100 * confusion_rates(confusion)[np.ix_(order, order)])
        names = [class_names[label] for label in order] if side >= size * _NAMED else []
        _name_classes(axes, names, with_rows=index == 0)
        for number, group in enumerate(groups):
            _outline(axes, [order.index(label) for label in group], _OUTLINES[number % len(_OUTLINES)])
        axes.set_title(textwrap.fill(title, side // _LETTER), fontsize=11, parse_math=False)
    bar = figure.add_axes((1 - _BAR / width, 0, _BAR / width, 1))
    figure.colorbar(ScalarMappable(_NORM, _COLORS), cax=bar, ticks=[0, 1, 2, 5, 10, 20, 50, 100], format="%d %%")
    return figure


def _draw_matrix(axes: Axes, percent: np.ndarray) -> None:
    axes.imshow(percent, cmap=_COLORS, norm=_NORM, aspect="auto", interpolation="nearest")
    never_seen = np.isnan(percent).all(axis=1)
    for row in np.flatnonzero(never_seen):
        place = (-0.5, row - 0.5)
        axes.add_patch(Rectangle(place, len(percent), 1, fill=False, hatch="////", edgecolor="0.6", linewidth=0))
    axes.set_xlabel("prediction" + ("; hatched: never seen in the truth" if never_seen.any() else ""))
    if len(percent) > MOST_NUMBERED:
        return
    for row, column in np.argwhere(np.rint(np.nan_to_num(percent)) > 0):
        value = percent[row, column]
        color = "white" if _NORM(value) > 0.71 else "black"  # whichever has more contrast
        axes.text(column, row, f"{value:.0f}", size=8, color=color, ha="center", va="center")


def _name_classes(axes: Axes, names: Sequence[str], with_rows: bool) -> None:
    places, size = range(len(names)), 9 if len(names) <= MOST_NUMBERED else 7
    # A dollar is a dollar, no formula.
    axes.set_xticks(places, names, rotation=90, size=size, parse_math=False)
    axes.set_yticks(places, names if with_rows else [], size=size, parse_math=False)
    axes.tick_params(length=0)
    if with_rows:
        axes.set_ylabel("truth")


def _outline(axes: Axes, places: Sequence[int], color: str) -> None:
    """Around each block of cells whose row and column both are at one of these places."""
    places = sorted(places)
    starts = [place for place in places if place - 1 not in places]
    ends = [place + 1 for place in places if place + 1 not in places]
    for (top, bottom), (left, right) in product(zip(starts, ends), repeat=2):
        block = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top)
        block.set(fill=False, edgecolor=color, linewidth=2.5, clip_on=False)
        axes.add_patch(block)
