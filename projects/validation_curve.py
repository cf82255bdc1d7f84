#!/usr/bin/env python3
"""Draw a score on the validation images over the iterations of trainings: was a training long enough?

    python projects/validation_curve.py --runs "1,200 iterations=output/short" "3,000=output/long" --output curve.png

A run is a folder with the metrics.json of a training with evaluations (TEST.EVAL_PERIOD). The picture has a line for
each run; the terminal gets the same as a table.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from tabulate import tabulate

from unified_seg.errors import UserError
from unified_seg.training.lifecycle.metrics_file import EVALUATION_SECONDS, METRICS_FILE, read_lines
from unified_seg_cli import ToolParser, run_tool

Curve = dict[int, float]


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_argument(
        "--runs", required=True, nargs="+", type=parse_run, metavar="NAME=FOLDER", help="trainings to compare"
    )
    parser.add_argument(
        "--metric", default="sem_seg/mIoU", help="its name in metrics.json; with several data sets it has theirs before"
    )
    parser.add_argument("--output", required=True, type=Path, help="the picture to write, a .png")
    args = parser.parse_args(arguments)
    names = [name for name, _ in args.runs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        parser.error(f"--runs: {repeated[0]!r} is the name of two runs")
    if args.output.suffix.lower() != ".png":
        parser.error(f"--output: expected a .png, got {args.output}")
    return args


def parse_run(word: str) -> tuple[str, Path]:
    """Return the name and the folder of NAME=FOLDER."""
    name, _, folder = word.partition("=")
    if not name or not folder:
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=FOLDER")
    return name, Path(folder)


def read_curve(folder: Path, metric: str) -> Curve:
    """Return the value of a metric after each number of iterations that has one.

    Raises:
        UserError: the folder's metrics.json has no such metric, or isn't there.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        raise UserError(f"{path}: no such file; is this the folder of a training?")
    lines = list(read_lines(path))
    # A line has the index of its step; that of the evaluation after the last step has the number of steps, and no loss.
    numbers = [line["iteration"] + (line is not lines[-1] or "total_loss" in line) for line in lines]
    if curve := {number: line[metric] for number, line in zip(numbers, lines) if metric in line}:
        if wrong := [value for value in curve.values() if not isinstance(value, int | float)]:
            raise UserError(f"{path}: {metric} must be a number, got {wrong[0]!r:.40}")
        return curve
    scores = sorted({name for line in lines if EVALUATION_SECONDS in line for name in line if "/" in name})
    known = ", ".join(scores[:12]) or "no scores: was TEST.EVAL_PERIOD 0?"
    raise UserError(f"{path}: no {metric}; there is {known}")


def format_table(curves: Mapping[str, Curve]) -> str:
    """Return the values as a Markdown table: a row for each number of iterations, a column for each run."""
    iterations = sorted({iteration for curve in curves.values() for iteration in curve})
    rows = [[each, *(curve.get(each) for curve in curves.values())] for each in iterations]
    headers = ["iterations", *curves]
    return tabulate(rows, headers=headers, tablefmt="github", floatfmt=".2f", intfmt=",", missingval="–")


def draw(curves: Mapping[str, Curve], metric: str, path: Path) -> None:
    """Draw a line for each run."""
    figure, axes = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    for name, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), marker="o", markersize=4, label=name)
    axes.set_xlim(left=0)
    axes.set_xlabel("iterations")
    axes.set_ylabel(f"{metric.rsplit('/', 1)[-1]} on validation images, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    curves = {name: read_curve(folder, args.metric) for name, folder in args.runs}
    draw(curves, args.metric, args.output)
    print(f"{format_table(curves)}\n\nwritten to {args.output}")


if __name__ == "__main__":
    run_tool(main)
