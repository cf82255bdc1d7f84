#!/usr/bin/env python3
"""Write the table of all parts into the README of this folder: scores, time and parameters side by side.

    python tools/ablate.py everything
    python tools/benchmark.py everything --json docs/benchmarks/everything.json \\
        --weights output/ablation/everything/error_correction/seed0/model_final.pth
    python projects/everything/parts.py

The scores come from results.json of the first command, the times from the JSON of the second. The parameters are
counted here.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from detectron2.modeling import build_model
from tabulate import tabulate

from unified_seg import load_config
from unified_seg.cli import ToolParser, run_tool
from unified_seg.data.io.text_files import read_json
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config
from unified_seg.reporting.ablation.table import mean
from unified_seg.reporting.readme import put_into

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
SCORES = {"mIoU": "miou", "mask AP": "ap", "PQ": "pq"}


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    add = parser.add_argument
    add("--results", type=Path, default=FOLDER / "results.json", metavar="FILE", help="default: results.json beside it")
    times = ROOT / "docs/benchmarks/everything.json"
    add("--times", type=Path, default=times, metavar="FILE", help="default: docs/benchmarks/everything.json")
    add("--readme", type=Path, default=FOLDER / "README.md", metavar="FILE", help="default: that of this folder")
    return parser.parse_args(arguments)


def millions_of_parameters(row: Mapping[str, Any]) -> float:
    """Count the parameters of the final model of a row of results.json, in millions."""
    overrides = [part for key, value in row["overrides"].items() for part in (key, str(value))]
    cfg = load_config(ROOT / row["config"], ["MODEL.DEVICE", "meta", *overrides])
    with torch.device("meta"):
        model = build_model(resolve_config(cfg, for_inference=True))
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def milliseconds(times: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the time of each model by its name.

    The first is a median; the others follow from their ratio to the first, which was timed in turn with each of them.

    Raises:
        DataError: there are no times.
    """
    if not times:
        raise DataError("--times: the file has no times; python tools/benchmark.py everything writes them")
    first = median(each["peer_ms"] for each in times)
    return {times[0]["against"]: first, **{each["name"]: first / each["ratio"] for each in times}}


def table(results: Mapping[str, Any], times: Sequence[Mapping[str, Any]]) -> str:
    """Format the table as Markdown."""
    of_model = milliseconds(times)
    lines = []
    for row in results["rows"]:
        scores = [mean(row[metric], digits=2) for metric in SCORES.values()]
        time = of_model.get(row["name"])
        lines.append(
            [
                row["name"],
                str(len(row["seeds"])),
                *scores,
                mean([time], digits=0),
                f"{millions_of_parameters(row):.2f}",
                mean([seconds / 60 for seconds in row["train_s"] if seconds]),
            ]
        )
    headers = ["", "seeds", *SCORES, "ms an image", "parameters, millions", "training, minutes"]
    notes = [
        "Rows with a + add their part to the row above them, whose weights stay as they are.",
        "The last row is the control: the parts of the second row, and as fast, with the iterations of all stages.",
        f"Scores, and minutes of training: means over the seeds of `{results['command']}`.",
        f"Times: `python tools/benchmark.py everything`, {times[0]['inputs']}; {times[0]['machine']}.",
    ]
    return "\n".join(
        [tabulate(lines, headers, tablefmt="github", disable_numparse=True), "", *(f"- {note}" for note in notes)]
    )


def run(args: argparse.Namespace) -> None:
    text = table(read_json(args.results), read_json(args.times))
    put_into(args.readme, text, "parts")
    print(text)


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)))


if __name__ == "__main__":
    main()
