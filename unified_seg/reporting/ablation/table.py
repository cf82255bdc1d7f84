"""The tables of an ablation, rendered from results.json alone."""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

#: The names of the tables' places. Every ablation's README has the first; the others go where there are places.
MAIN, CLASSES, LEVELS = "ablation", "ablation-classes", "ablation-levels"
TITLES = {
    "miou": "mIoU",
    "ap": "mask AP",
    "pq": "PQ",
    "vehicle_pixels": "vehicles right by pixels",
    "vehicle_pixels_fused": "by fused pixels",
    "vehicle_boxes": "by boxes",
    "miou_uncorrected": "mIoU uncorrected",
    "error_iou": "error IoU",
    "error_iou_best": "best error IoU",
    "confidence_error_iou": "best error IoU by confidence",
    "hard_recall": "hard recall",
    "miou_ungrouped": "mIoU ungrouped",
}
NOTHING = "–"


def render(results: Mapping[str, Any]) -> str:
    """Markdown: the table and, below it, how it was made."""
    rows = results["rows"]
    metrics = [metric for metric in TITLES if any(_known(row.get(metric, [])) for row in rows)]
    columns: dict[str, list[str]] = {
        "row": [row["name"] for row in rows],
        "iterations": [str(row["iterations"] or NOTHING) for row in rows],
        "seeds": [", ".join(map(str, row["seeds"])) or "not run yet" for row in rows],
    }
    for metric in metrics:
        columns[TITLES[metric]] = [mean_and_spread(row.get(metric, [])) for row in rows]
        if any(difference(row, metric) != NOTHING for row in rows):
            columns[f"difference in {TITLES[metric]}"] = [difference(row, metric) for row in rows]
    columns["training, minutes"] = [_minutes(row) for row in rows]
    table = tabulate(columns, headers="keys", tablefmt="github", disable_numparse=True)
    return f"{table}\n\n{_how_it_was_made(results)}"


def render_classes(results: Mapping[str, Any]) -> str:
    """Markdown: the IoU of every class, a column per row of the ablation."""
    rows = [row for row in results["rows"] if row.get("iou")]
    names = list(dict.fromkeys(name for row in rows for name in row["iou"]))
    columns = {"class": names}
    for row in rows:
        columns[row["name"]] = [mean(row["iou"].get(name, [])) for name in names]
    table = tabulate(columns, headers="keys", tablefmt="github", disable_numparse=True)
    return f"{table}\n\n- IoU in percent, mean over the seeds of the runs above."


def render_levels(results: Mapping[str, Any]) -> str:
    """Markdown: of each row with a pyramidal output, who answers (by row) and the pixels asked (by column)."""
    tables = []
    for row in results["rows"]:
        levels = row.get("levels") or {}
        strides = list(dict.fromkeys(key.split("_")[1] for key in levels))
        if not strides:
            continue
        columns = {row["name"]: [f"stride {answering} answers" for answering in strides]}
        for assigned in strides:
            known = [_known(levels[f"mIoU_{assigned}_{answering}"]) for answering in strides]
            exact = [statistics.fmean(values) if values else -1 for values in known]
            cells = [mean(values, digits=2) for values in known]
            columns[f"pixels of stride {assigned}"] = [
                f"**{cell}**" if value == max(exact) else cell for cell, value in zip(cells, exact)
            ]
        tables.append(tabulate(columns, headers="keys", tablefmt="github", disable_numparse=True))
    tables.append("- mIoU in percent, mean over the seeds of the runs above; the best of each column is bold.")
    return "\n\n".join(tables)


def _minutes(row: Mapping[str, Any]) -> str:
    return mean([seconds / 60 for seconds in _known(row["train_s"])]) if row["iterations"] else NOTHING


def mean(values: Sequence[float | None], digits: int = 1) -> str:
    """A cell with the mean over the runs that have a value, or NOTHING."""
    known = _known(values)
    return f"{statistics.fmean(known):.{digits}f}" if known else NOTHING


def mean_and_spread(values: Sequence[float | None]) -> str:
    """A cell with the mean and, of several runs, the sample standard deviation."""
    known = _known(values)
    if len(known) < 2:
        return f"{known[0]:.2f}" if known else NOTHING
    return f"{statistics.fmean(known):.2f} ± {statistics.stdev(known):.2f}"


def difference(row: Mapping[str, Any], metric: str) -> str:
    """A cell with a row's difference to its baseline, and the interval where there is one."""
    found = (row.get("difference") or {}).get(metric)
    if found is None:
        return NOTHING
    words = f"{found['mean']:+.2f}"
    return words if found["low"] is None else f"{words} [{found['low']:+.2f}, {found['high']:+.2f}]"


def _how_it_was_made(results: Mapping[str, Any]) -> str:
    compared = [f"{row['name']}: to {row['baseline']}" for row in results["rows"] if row["baseline"]]
    notes = [
        f"Made by `{results['command']}`.",
        "Metrics in percent: mean ± sample standard deviation over the seeds, last checkpoint of every run.",
    ]
    if compared:
        notes.append(
            f"Differences ({'; '.join(compared)}): same seeds paired, mean over them; in brackets the 95 % paired "
            "bootstrap interval over the images."
        )
    notes.append(f"Budget of every row: {_settings(results['budget']) or 'as the configs say'}.")
    notes += [f"{row['name']}: {_settings(row['overrides'])}." for row in results["rows"] if row["overrides"]]
    notes.append(f"Data: {_data(results['data'])}.")
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    notes.append(f"Machine: {results['machine']}; {versions}. Commit {results['commit']}.")
    return "\n".join(f"- {note}" for note in notes)


def _data(data: Mapping[str, Any]) -> str:
    words = f"`{data['datasets']['val']}`"
    toyscapes = data["toyscapes"]
    if toyscapes is not None:
        words += (
            f", Toyscapes {toyscapes['preset']} version {toyscapes['version']}, {toyscapes['size']}, "
            f"{toyscapes['train']} images to train on, {toyscapes['val']} to score"
        )
    return words


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key} {_quoted(str(value))}`" for key, value in settings.items())


def _quoted(value: str) -> str:
    """A value as a shell reads it: lists, whose strings have single quotes, in double ones."""
    return f'"{value}"' if "'" in value and not set(value) & set('"$`\\!') else shlex.quote(value)


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def user_command(project: str, seeds: Sequence[int], device: str | None) -> str:
    """The command line that repeats an ablation."""
    words = ["python", "tools/ablate.py", project, "--seeds", *map(str, seeds)]
    if device is not None:
        words += ["--device", device]
    return shlex.join(words)
