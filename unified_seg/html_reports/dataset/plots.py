"""Plots of the statistics of a data set, as SVG documents."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter

from unified_seg.data.validation.dataset_statistics import ClassStatistics, Statistics
from unified_seg.html_reports.figures import BLUE, HEIGHT, ORANGE, WIDTH, add_axes, draw_figures
from unified_seg_files import escape_unprintable

_ROW = 0.19  # inches, height of a class's bar


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
    return draw_figures({title: draw for title, (has_data, draw) in plots.items() if has_data})


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
    figure = Figure(figsize=(WIDTH * len(shown), max(1.5, _ROW * len(classes) + 0.6)))
    places = np.arange(len(classes))
    for axes, (what, counts) in zip(add_axes(figure, columns=len(shown)), shown.items()):
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
    figure = Figure(figsize=(WIDTH, HEIGHT))
    (axes,) = add_axes(figure)
    heights, widths = zip(*sizes)
    counts = np.array(list(sizes.values()))
    axes.scatter(widths, heights, s=12 + 300 * counts / counts.max(), color=BLUE, alpha=0.6, linewidth=0)
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
    figure = Figure(figsize=(WIDTH, HEIGHT))
    (axes,) = add_axes(figure)
    largest = max(heights.max(), widths.max(), 2)
    edges = np.geomspace(1, largest, 33).tolist()
    for what, sides, color in (("height", heights, BLUE), ("width", widths, ORANGE)):
        axes.hist(np.maximum(sides, 1), edges, histtype="step", linewidth=1.6, color=color, label=what)
    _make_logarithmic(axes)
    axes.set_xlabel("side of the box (pixels)")
    axes.set_ylabel("instances")
    axes.legend(frameon=False)
    return figure


def _draw_per_image(instances: Sequence[int], classes: Sequence[int]) -> Figure:
    figure = Figure(figsize=(WIDTH, HEIGHT))
    (axes,) = add_axes(figure)
    edges = (np.arange(max([*instances, *classes]) + 2) - 0.5).tolist()
    for what, counts, color in (("instances", instances, BLUE), ("classes", classes, ORANGE)):
        if counts:
            axes.hist(counts, edges, histtype="step", linewidth=1.6, color=color, label=what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("in an image")
    axes.set_ylabel("images")
    axes.legend(frameon=False)
    return figure
