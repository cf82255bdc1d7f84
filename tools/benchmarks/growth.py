"""The growth of the time of a call with the size of its inputs, as a plot and as JSON."""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from tqdm import tqdm

from unified_seg.data.io.text_files import write_json

from .harness import Call, choose_clock, quartiles, take_times

INSTANCES = (1, 3, 10, 30, 100, 300)
MEGAPIXELS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)

Point = dict[str, Any]


class Sweep(NamedTuple):
    """The inputs of one panel, of which one number grows.

    Attributes:
        name: the number that grows, such as "instances".
        fixed: what stays, in words.
        inputs: numbers that describe the input of each point, by name.
        calls: for each point, prepares the call to time.
    """

    name: str
    fixed: str
    inputs: Sequence[Mapping[str, float]]
    calls: Sequence[Callable[[], Call]]


def draw(args: argparse.Namespace, machine: str, title: str, sweeps: Sequence[Sweep]) -> None:
    """Time the calls of all sweeps; write the plot `args.growth`, with a panel for each sweep, and its JSON."""
    torch.set_num_threads(args.threads)
    total = sum(len(sweep.inputs) for sweep in sweeps)
    with tqdm(total=total, unit="point", desc="timing", leave=False) as bar:
        panels = [[_measure(each, call, args, bar) for each, call in zip(s.inputs, s.calls)] for s in sweeps]
    points = [point for panel in panels for point in panel]
    numbers = args.growth.with_suffix(".json")
    write_json(numbers, [{**point, "machine": machine} for point in points])
    _plot(args.growth, machine, title, sweeps, panels)
    for point in points:
        print(f"{', '.join(_describe(point, name) for name in sweeps[0].inputs[0])}: {point['ms']:8.2f} ms")
    print(f"machine: {machine}\nwritten to {args.growth} and {numbers}")


def make_size(megapixels: float) -> tuple[int, int]:
    """Return a size that is twice as wide as high, with even sides."""
    height = 2 * round((megapixels * 1e6 / 2) ** 0.5 / 2)
    return height, 2 * height


def _measure(inputs: Mapping[str, float], prepare: Callable[[], Call], args: argparse.Namespace, bar: tqdm) -> Point:
    times = take_times(prepare(), args.repeats, choose_clock(args.device))
    bar.update()
    return {**inputs, "ms": statistics.median(times), "quartiles_ms": quartiles(times), "repeats": args.repeats}


def _describe(point: Point, name: str) -> str:
    return f"{point[name]:4d} {name}" if isinstance(point[name], int) else f"{point[name]:5.2f} {name}"


def _plot(path: Path, machine: str, title: str, sweeps: Sequence[Sweep], panels: Sequence[Sequence[Point]]) -> None:
    figure = Figure(figsize=(5 * len(sweeps), 4.2), layout="constrained")
    axes = figure.subplots(1, len(sweeps), sharey=True, squeeze=False)[0]
    for axis, sweep, points in zip(axes, sweeps, panels):
        _draw_panel(axis, points, sweep.name, sweep.fixed)
    axes[0].set_ylabel("milliseconds")
    times = [point["ms"] for points in panels for point in points]
    axes[0].set_ylim(min(times) / 2, max(times) * 2)
    figure.suptitle(title, fontsize=13)
    figure.supxlabel(machine, fontsize=7, color="gray")
    figure.savefig(path, dpi=150)


def _draw_panel(axis: Axes, points: Sequence[Point], name: str, title: str) -> None:
    places = [point[name] for point in points]
    times = [point["ms"] for point in points]
    below, above = zip(*((p["ms"] - p["quartiles_ms"][0], p["quartiles_ms"][1] - p["ms"]) for p in points))
    axis.errorbar(places, times, (below, above), marker="o", capsize=3, color="tab:blue", label="median, quartiles")
    # A line through the last point shows time in proportion.
    guide = [times[-1] * place / places[-1] for place in places]
    axis.plot(places, guide, linestyle="--", color="gray", label=f"in proportion to {name}")
    axis.set_xscale("log")
    axis.set_yscale("log")
    for one, ticks in ((axis.xaxis, places), (axis.yaxis, (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000))):
        one.set_major_locator(FixedLocator(ticks))
        one.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value, 2):g}"))
        one.set_minor_locator(NullLocator())
    axis.set_xlabel(name)
    axis.set_title(title, fontsize=11)
    axis.grid(True, alpha=0.3)
    axis.legend(frameon=False)
