"""The common look of plots: figures as SVG documents, with colors that color-blind people can tell apart."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 5.2  # inches
HEIGHT = 3.2
#: Colors of Okabe and Ito (2008), which most color-blind people can tell apart.
BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW)
# Text stays text instead of outlines; the fixed salt makes the same numbers give the same bytes.
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "unified_seg", "font.size": 9}


def draw_figures(figures: Mapping[str, Callable[[], Figure]]) -> dict[str, str]:
    """Return SVG documents by title."""
    with matplotlib.rc_context(_STYLE):
        return {title: _to_svg(draw()) for title, draw in figures.items()}


def add_axes(figure: Figure, rows: int = 1, columns: int = 1) -> list[Axes]:
    """Add axes that share their y axis to a figure."""
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(color="0.9", linewidth=0.6)
        each.set_axisbelow(True)
    return axes


def _to_svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.05, metadata={"Date": None})
    return buffer.getvalue()
