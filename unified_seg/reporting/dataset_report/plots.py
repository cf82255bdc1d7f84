"""Plots of the statistics of a data set, as SVG documents."""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter

from unified_seg.data.validation.dataset_statistics import ClassStatistics, Statistics
from unified_seg_files import escape_unprintable

_WIDTH = 5.2  # inches
_HEIGHT = 3.2
_ROW = 0.19  # inches, height of a class's bar
# Two of the colors of Okabe and Ito (2008), which most color-blind people can tell apart.
_BLUE, _ORANGE = "#0072b2", "#d55e00"
# Text stays text instead of outlines; the fixed salt makes the same numbers give the same bytes.
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "unified_seg", "font.size": 9}


def draw_statistics(statistics: Statistics) -> dict[str, str]:
    """Draw class frequencies (logarithmic), sizes of images and instances, and instances and classes per image.

    Args:
        statistics: of a data set.

    Returns:
        SVG documents by title; plots without data are left out.
    """
    heights, widths = statistics.instance_sizes[:, 1], statistics.instance_sizes[:, 2]
    plots: dict[str, tuple[bool, Callable[[], Figure]]] = {
        "Class frequencies": (
            any(_count(c) for c in statistics.classes),
            lambda: _draw_frequencies(statistics.classes),
        ),
        "Image sizes": (bool(statistics.image_sizes), lambda: _draw_image_sizes(statistics.image_sizes)),
        "Sides of instances": (len(heights) > 0, lambda: _draw_instance_sides(heights, widths)),
        "Instances and classes per image": (
            bool(statistics.classes_per_image),
            lambda: _draw_per_image(statistics.instances_per_image, statistics.classes_per_image),
        ),
    }
    with matplotlib.rc_context(_STYLE):
        return {title: _to_svg(draw()) for title, (has_data, draw) in plots.items() if has_data}


def _to_svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.05, metadata={"Date": None})
    return buffer.getvalue()


def _add_axes(figure: Figure, rows: int = 1, columns: int = 1) -> list[Axes]:
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(color="0.9", linewidth=0.6)
        each.set_axisbelow(True)
    return axes


def _make_logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _count(cls: ClassStatistics) -> int:
    return (cls.pixels or 0) + (cls.instances or 0)


def _draw_frequencies(classes: Sequence[ClassStatistics]) -> Figure:
    """Draw bars of pixels and of instances, the most frequent class on top."""
    classes = sorted(classes, key=lambda c: (c.pixels or 0, c.instances or 0))
    values = {
        "pixels": [c.pixels or 0 for c in classes],
        "instances": [c.instances or 0 for c in classes],
    }
    shown = {what: counts for what, counts in values.items() if any(counts)}
    figure = Figure(figsize=(_WIDTH * len(shown), max(1.5, _ROW * len(classes) + 0.6)))
    places = np.arange(len(classes))
    for axes, (what, counts) in zip(_add_axes(figure, columns=len(shown)), shown.items()):
        colors = [tuple(channel / 255 for channel in c.color) for c in classes]
        axes.barh(places, counts, color=colors, edgecolor="0.4", linewidth=0.4)
        _make_logarithmic(axes)
        # The axis starts at a power of ten below the rarest class.
        axes.set_xlim(left=0.8 * 10 ** math.floor(math.log10(min(filter(None, counts)))))
        axes.set_xlabel(what)
        # Dollar signs in names start no formula.
        axes.set_yticks(places, [escape_unprintable(c.name) for c in classes], parse_math=False)
        axes.set_ylim(-0.6, len(classes) - 0.4)
        axes.grid(axis="y", visible=False)
    return figure


def _draw_image_sizes(sizes: dict[tuple[int, int], int]) -> Figure:
    """Draw a dot for each size; its area is proportional to the number of images."""
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    (axes,) = _add_axes(figure)
    heights, widths = zip(*sizes)
    counts = np.array(list(sizes.values()))
    axes.scatter(widths, heights, s=12 + 300 * counts / counts.max(), color=_BLUE, alpha=0.6, linewidth=0)
    axes.set_xlim(0, 1.15 * max(widths))
    axes.set_ylim(0, 1.25 * max(heights))
    axes.set_xlabel("width (pixels)")
    axes.set_ylabel("height (pixels)")
    if len(sizes) == 1:
        axes.annotate(
            f"{widths[0]}×{heights[0]}", (widths[0], heights[0]), (-14, 0), textcoords="offset points", ha="right"
        )
    return figure


def _draw_instance_sides(heights: np.ndarray, widths: np.ndarray) -> Figure:
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    (axes,) = _add_axes(figure)
    largest = max(heights.max(), widths.max(), 2)
    edges = np.geomspace(1, largest, 33).tolist()
    for what, sides, color in (("height", heights, _BLUE), ("width", widths, _ORANGE)):
        axes.hist(np.maximum(sides, 1), edges, histtype="step", linewidth=1.6, color=color, label=what)
    _make_logarithmic(axes)
    axes.set_xlabel("side of the box (pixels)")
    axes.set_ylabel("instances")
    axes.legend(frameon=False)
    return figure


def _draw_per_image(instances: Sequence[int], classes: Sequence[int]) -> Figure:
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    (axes,) = _add_axes(figure)
    edges = (np.arange(max([*instances, *classes]) + 2) - 0.5).tolist()
    for what, counts, color in (("instances", instances, _BLUE), ("classes", classes, _ORANGE)):
        if counts:
            axes.hist(counts, edges, histtype="step", linewidth=1.6, color=color, label=what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("in an image")
    axes.set_ylabel("images")
    axes.legend(frameon=False)
    return figure
