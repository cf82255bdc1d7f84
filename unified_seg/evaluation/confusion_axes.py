"""Confusion matrices in the axes of figures: cells in shades of blue, with percentages and the names of the classes."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

# Of 0 to 100 %. A linear scale would hide the few percent of confusion beside the diagonal.
NORM = PowerNorm(0.4, 0, 100)
COLORS = colormaps["Blues"].with_extremes(bad="0.9")


def draw_percentages(axes: Axes, percent: np.ndarray, number_size: float) -> None:
    """Draw a matrix (K, K) in percent of each row; rows of NaN are gray.

    Args:
        axes: are filled.
        percent: rows ground truth, columns prediction.
        number_size: of the percentages in the cells that do not round to 0, in points; 0 = no numbers.
    """
    axes.imshow(percent, cmap=COLORS, norm=NORM, aspect="auto", interpolation="nearest")
    if not number_size:
        return
    for row, column in np.argwhere(np.rint(np.nan_to_num(percent)) > 0):
        value = percent[row, column]
        color = "white" if NORM(value) > 0.71 else "black"  # the one with more contrast
        axes.text(column, row, f"{value:.0f}", size=number_size, color=color, ha="center", va="center")


def name_classes(axes: Axes, names: Sequence[str], size: float, with_rows: bool = True) -> None:
    """Write the names of the classes below the columns and beside the rows, and what rows and columns are."""
    places = range(len(names))
    # No formulas: a name may have a dollar sign.
    axes.set_xticks(places, names, rotation=90, size=size, parse_math=False)
    axes.set_yticks(places, names if with_rows else [], size=size, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("prediction")
    if with_rows:
        axes.set_ylabel("ground truth")
