"""The growth of the time of a call with instances and with pixels, as a plot and as JSON."""

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
#: (size, instances) -> the call to time.
Prepare = Callable[[tuple[int, int], int], Call]


def draw(args: argparse.Namespace, machine: str, prepare: Prepare) -> None:
    """Time the call over INSTANCES and over MEGAPIXELS; write the plot `args.growth` and its JSON."""
    torch.set_num_threads(args.threads)
    over_instances = [(args.size, instances) for instances in INSTANCES]
    over_pixels = [(_size(megapixels), args.instances) for megapixels in MEGAPIXELS]
    points = [
        _measure(prepare, size, instances, args.repeats, args.device)
        for size, instances in tqdm(over_instances + over_pixels, unit="point", desc="timing", leave=False)
    ]
    by_instances, by_pixels = points[: len(over_instances)], points[len(over_instances) :]
    numbers = args.growth.with_suffix(".json")
    write_json(numbers, [{**point, "machine": machine} for point in points])
    _plot(args.growth, machine, by_instances, by_pixels)
    for point in points:
        print(f"{point['instances']:4d} instances, {point['megapixels']:5.2f} megapixels: {point['ms']:8.2f} ms")
    print(f"machine: {machine}\nwritten to {args.growth} and {numbers}")


def _size(megapixels: float) -> tuple[int, int]:
    """Return a size that is twice as wide as high, with even sides."""
    height = 2 * round((megapixels * 1e6 / 2) ** 0.5 / 2)
    return height, 2 * height


def _measure(prepare: Prepare, size: tuple[int, int], instances: int, repeats: int, device: str) -> Point:
    times = take_times(prepare(size, instances), repeats, choose_clock(device))
    return {
        "instances": instances,
        "megapixels": size[0] * size[1] / 1e6,
        "ms": statistics.median(times),
        "quartiles_ms": quartiles(times),
        "repeats": repeats,
    }


def _plot(path: Path, machine: str, by_instances: Sequence[Point], by_pixels: Sequence[Point]) -> None:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    size, count = by_instances[0]["megapixels"], by_pixels[0]["instances"]
    _draw_panel(axes[0], by_instances, "instances", "instances", f"{size:.3g} megapixels")
    _draw_panel(axes[1], by_pixels, "megapixels", "megapixels", f"{count} instances")
    axes[0].set_ylabel("milliseconds")
    times = [point["ms"] for point in (*by_instances, *by_pixels)]
    axes[0].set_ylim(min(times) / 2, max(times) * 2)
    figure.suptitle("Semantic-guided fusion, time of one image", fontsize=13)
    figure.supxlabel(machine, fontsize=7, color="gray")
    figure.savefig(path, dpi=150)


def _draw_panel(axis: Axes, points: Sequence[Point], key: str, name: str, title: str) -> None:
    places = [point[key] for point in points]
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
