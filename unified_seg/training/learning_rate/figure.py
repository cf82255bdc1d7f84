"""The figure of a learning rate range test."""

from pathlib import Path

from matplotlib.figure import Figure

from unified_seg.html_reports.figures import BLUE, HEIGHT, ORANGE, WIDTH, add_axes
from unified_seg.training.learning_rate.range_test import Curve
from unified_seg_files import write_atomically


def draw_curve(curve: Curve, suggestion: float | None, file: Path) -> None:
    """Write a PNG with the losses over the rates, and a line at the suggested rate if there is one."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    (axes,) = add_axes(figure)
    axes.plot(curve.rates, curve.losses, color="0.75", linewidth=0.8, label="loss")
    axes.plot(curve.rates, curve.smooth(), color=BLUE, label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color=ORANGE, linestyle="--", label=f"falls fastest: {suggestion:.2g}")
    axes.set(xscale="log", xlabel="learning rate (SOLVER.BASE_LR)", ylabel="total loss")
    top = curve.smooth()
    axes.set_ylim(0, 1.5 * max(top[0], float(sorted(top)[len(top) // 2])))
    axes.legend()
    with write_atomically(file, suffix=".png") as temporary:
        figure.savefig(temporary, dpi=150)
