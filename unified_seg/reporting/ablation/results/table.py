"""The tables of an ablation in Markdown, rendered from results.json alone."""

import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from unified_seg.reporting.ablation.metrics import list_metrics
from unified_seg.reporting.ablation.plan import choose_reported
from unified_seg.reporting.ablation.results.cells import (
    EMPTY,
    drop_missing,
    format_difference,
    format_mean,
    format_mean_and_spread,
    format_minutes,
)
from unified_seg.reporting.readme import has_markers, replace_table

#: Names of the tables' places in a README. Every ablation's README has the first; the others are optional.
MAIN, CLASSES, LEVELS = "ablation", "ablation-classes", "ablation-levels"


def write_tables(readme: Path, results: Mapping[str, Any]) -> None:
    """Write the tables that a README has places for; raise ReportingError without a place for the main one."""
    replace_table(readme, MAIN, render_main(results))
    optional: dict[str, Callable[[Mapping[str, Any]], str]] = {CLASSES: render_classes, LEVELS: render_levels}
    for name, render in optional.items():
        if has_markers(readme, name):
            replace_table(readme, name, render(results))


def render_main(results: Mapping[str, Any]) -> str:
    """Return the table of all rows and, in a collapsed block, how it was made."""
    rows = results["rows"]
    columns: dict[str, list[str]] = {
        "row": [row["name"] for row in rows],
        "iterations": [str(row["iterations"] or EMPTY) for row in rows],
        "seeds": [", ".join(map(str, row["seeds"])) or "not run yet" for row in rows],
    }
    for name, metric in list_metrics(rows).items():
        if not any(drop_missing(row.get(name, [])) for row in rows):
            continue
        columns[metric.caption] = [format_mean_and_spread(row.get(name, [])) for row in rows]
        differences = [format_difference(row, name) for row in rows]
        if any(difference != EMPTY for difference in differences):
            columns[f"difference in {metric.caption}"] = differences
    columns["training, minutes"] = [format_minutes(row) for row in rows]
    note = (
        "Percent: mean ± sample standard deviation over the seeds, last checkpoint of every run. A difference is the "
        "mean over the seeds that a row and its baseline share; in brackets the 95 % interval of a paired bootstrap "
        "over the images."
    )
    return f"{_tabulate(columns)}\n\n{note}\n\n{_render_details(results)}"


def render_classes(results: Mapping[str, Any]) -> str:
    """Return the IoU of every class, with a column for each row of the ablation."""
    rows = [row for row in results["rows"] if row.get("iou")]
    names = list(dict.fromkeys(name for row in rows for name in row["iou"]))
    columns = {"class": names}
    for row in rows:
        columns[row["name"]] = [format_mean(row["iou"].get(name, [])) for name in names]
    return f"{_tabulate(columns)}\n\nIoU in percent, mean over the seeds."


def render_levels(results: Mapping[str, Any]) -> str:
    """Return a table for each row whose model predicts at several strides.

    A table has a row for each stride of the predictions, and a column for the pixels that each stride is assigned.
    """
    tables = []
    for row in results["rows"]:
        levels = row.get("levels") or {}
        strides = list(dict.fromkeys(key.split("_")[1] for key in levels))
        if not strides:
            continue
        columns = {row["name"]: [f"predictions of stride {stride}" for stride in strides]}
        for assigned in strides:
            scores = [drop_missing(levels[f"mIoU_{assigned}_{predicting}"]) for predicting in strides]
            means = [statistics.fmean(values) if values else -1 for values in scores]
            columns[f"pixels of stride {assigned}"] = [
                f"**{format_mean(values, digits=2)}**" if mean == max(means) else format_mean(values, digits=2)
                for values, mean in zip(scores, means)
            ]
        tables.append(_tabulate(columns))
    tables.append("mIoU in percent, mean over the seeds; the best of each column is bold.")
    return "\n\n".join(tables)


def format_command(project: str, seeds: Sequence[int], device: str | None) -> str:
    """Return the command line that repeats an ablation."""
    words = ["python", "tools/ablate.py", project, "--seeds", *map(str, seeds)]
    if device is not None:
        words += ["--device", device]
    return shlex.join(words)


def _render_details(results: Mapping[str, Any]) -> str:
    """Return a collapsed block: baseline and config overrides of the rows, command, data and machine."""
    rows = [row for row in results["rows"] if row["baseline"] or row["overrides"]]
    cells = [[row["name"], row["baseline"] or EMPTY, _format_settings(row["overrides"]) or EMPTY] for row in rows]
    header = [["row", "compared with", "config overrides"], ["---"] * 3]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        "<details>",
        "<summary>Command, baselines, config overrides, data, machine</summary>",
        "",
        *([f"| {' | '.join(map(_escape, each))} |" for each in (*header, *cells)] if rows else []),
        *([""] if rows else []),
        f"- Command: `{results['command']}`",
        f"- Config overrides of every row: {_format_settings(results['budget']) or 'none'}",
        f"- Data: {_format_data(results['data'])}",
        f"- Machine: {results['machine']}; {versions}",
        f"- Commits: {results['commit']}",
        "",
        "</details>",
    ]
    return "\n".join(lines)


def _tabulate(columns: Mapping[str, Sequence[str]]) -> str:
    escaped = {_escape(name): [_escape(cell) for cell in cells] for name, cells in columns.items()}
    return tabulate(escaped, headers="keys", tablefmt="github", disable_numparse=True)


def _escape(cell: str) -> str:
    return cell.replace("|", r"\|")


def _format_data(data: Mapping[str, Any]) -> str:
    datasets, images = data["datasets"], data.get("images", {})
    words = f"`{choose_reported(datasets)}`"
    if images:
        words += f"; images: {', '.join(f'{count} in `{name}`' for name, count in images.items())}"
    toyscapes = data["toyscapes"]
    if toyscapes is not None:
        words += (
            f", Toyscapes {toyscapes['preset']} version {toyscapes['version']}, {toyscapes['size']}, "
            f"{toyscapes['train']} training images, {toyscapes['val']} evaluated"
        )
    return words


def _format_settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key} {_quote(str(value))}`" for key, value in settings.items())


def _quote(value: str) -> str:
    """Return a value as a shell reads it: lists, whose strings have single quotes, in double ones."""
    return f'"{value}"' if "'" in value and not set(value) & set('"$`\\!') else shlex.quote(value)
