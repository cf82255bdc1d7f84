#!/usr/bin/env python3
"""Write the table of what each part adds into this folder's README: scores, time and parameters side by side.

    python tools/ablate.py everything
    python tools/benchmark.py everything --json docs/benchmarks/everything.json \\
        --weights output/ablation/everything/error_correction/seed0/model_final.pth
    python projects/everything/parts.py

The first command writes the scores to results.json, the second the milliseconds per image; parameters are counted here.
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
from unified_seg.data.io.text_files import read_json
from unified_seg.data.resolve import resolve_config
from unified_seg.reporting.ablation.results.cells import format_mean
from unified_seg.reporting.errors import ReportingError
from unified_seg.reporting.readme import replace_table
from unified_seg_cli import ToolParser, run_tool

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


def count_parameters(row: Mapping[str, Any]) -> float:
    """Return the parameters, in millions, of the model that a row of results.json ends with."""
    overrides = [part for key, value in row["overrides"].items() for part in (key, str(value))]
    cfg = load_config(ROOT / row["config"], ["MODEL.DEVICE", "meta", *overrides])
    with torch.device("meta"):
        model = build_model(resolve_config(cfg, for_inference=True))
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def compute_milliseconds(times: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return milliseconds per image by the name of a model.

    They are the median of the first model; for the others, each timed in turns with the first, that divided by the
    ratio of the two.

    Raises:
        ReportingError: no times.
    """
    if not times:
        raise ReportingError("--times: the file is empty; python tools/benchmark.py everything writes it")
    first = median(each["peer_ms"] for each in times)
    return {times[0]["against"]: first, **{each["name"]: first / each["ratio"] for each in times}}


def render_parts(results: Mapping[str, Any], times: Sequence[Mapping[str, Any]]) -> str:
    """Return the table in Markdown."""
    milliseconds = compute_milliseconds(times)
    lines = []
    for row in results["rows"]:
        lines.append(
            [
                row["name"],
                str(len(row["seeds"])),
                *(format_mean(row[metric], digits=2) for metric in SCORES.values()),
                format_mean([milliseconds.get(row["name"])], digits=0),
                f"{count_parameters(row):.2f}",
                format_mean([seconds / 60 for seconds in row["train_s"] if seconds]),
            ]
        )
    headers = ["", "seeds", *SCORES, "ms per image", "parameters, millions", "training, minutes"]
    notes = [
        "A row with a + adds its part to the row above it, whose weights stay unchanged. The last row is the control: "
        "the parts, and the time per image, of the second row, with the iterations of all stages.",
        "",
        "<details>",
        "<summary>Commands and machine</summary>",
        "",
        f"- Scores and training time: means over the seeds of `{results['command']}`",
        f"- Milliseconds: `{times[0]['command']}`, {times[0]['inputs']}; {times[0]['machine']}",
        "",
        "</details>",
    ]
    return "\n".join([tabulate(lines, headers, tablefmt="github", disable_numparse=True), "", *notes])


def run(args: argparse.Namespace) -> None:
    table = render_parts(read_json(args.results), read_json(args.times))
    replace_table(args.readme, "parts", table)
    print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)))


if __name__ == "__main__":
    main()
