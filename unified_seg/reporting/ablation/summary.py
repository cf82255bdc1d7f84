"""From the folders of the runs to results.json, which holds everything that the table needs."""

import json
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unified_seg.reporting.ablation.bootstrap import mean_iou, paired_difference
from unified_seg.reporting.ablation.plan import METRICS, AblationPlan, Row
from unified_seg.reporting.ablation.runs import RESULTS, Run, State, read_record

COUNTS = "sem_seg.npz"
# A hundredth of what the table shows; the two are sums of the same integers.
MIOU_TOLERANCE = 1e-4


def summarize(plan: AblationPlan, runs: Sequence[Run], command: str) -> dict[str, Any]:
    """The content of results.json for the runs that are done.

    Args:
        plan: the ablation.
        runs: all that there may be, of any row and seed; those not done are left out.
        command: what the user types to repeat it.

    Raises:
        ValueError: a run's files lack a metric that its row reports, or contradict each other.
    """
    done = [run for run in runs if run.state() is State.DONE]
    records = [record for run in done if (record := read_record(run.folder)) is not None]
    by_row = {row.name: [run for run in done if run.row == row] for row in plan.rows}
    toyscapes = plan.toyscapes
    return {
        "project": plan.project,
        "command": command,
        "machine": distinct(record["machine"] for record in records),
        "versions": {key: distinct(each["versions"][key] for each in records) for key in _keys(records, "versions")},
        "toyscapes": toyscapes.version if toyscapes else None,
        "data": {"datasets": dict(plan.datasets), "toyscapes": toyscapes.as_dict() if toyscapes else None},
        "commit": distinct(record["commit"] for record in records),
        "budget": dict(plan.budget),
        "rows": [_summarize_row(plan, row, by_row) for row in plan.rows],
    }


def _summarize_row(plan: AblationPlan, row: Row, by_row: Mapping[str, list[Run]]) -> dict[str, Any]:
    runs = by_row[row.name]
    records = [read_record(run.folder) or {} for run in runs]
    summary: dict[str, Any] = {
        "name": row.name,
        "config": row.config,
        "overrides": dict(row.overrides),
        "kind": row.kind,
        "base": row.base,
        "baseline": row.baseline,
        "iterations": sum(i for _, i in runs[0].trainings) if runs and row.kind == "train" else 0,
        "batch": runs[0].config["SOLVER.IMS_PER_BATCH"] if runs else None,
        "seeds": [run.seed for run in runs],
        **_metrics(row, runs, plan.datasets["val"]),
        "iou": _class_iou(row, runs, plan.datasets["val"]),
        "levels": _levels(runs, plan.datasets["val"]),
        "train_s": [_rounded(record.get("train_s"), 1) for record in records],
    }
    if "heldout" in plan.datasets:
        summary["heldout"] = _metrics(row, runs, plan.datasets["heldout"])
    if row.baseline is not None:
        summary["difference"] = _difference(plan, row, runs, by_row[row.baseline], summary)
    return summary


def _metrics(row: Row, runs: Sequence[Run], dataset: str) -> dict[str, list[float | None]]:
    """metric -> one value a run; null for the metrics that the row does not report."""
    return {
        metric: [_metric(run, dataset, metric) if metric in row.metrics else None for run in runs] for metric in METRICS
    }


def _class_iou(row: Row, runs: Sequence[Run], dataset: str) -> dict[str, list[float | None]]:
    """class -> its IoU, one value a run; null where the class does not occur. Empty for a row without mIoU."""
    if "miou" not in row.metrics:
        return {}
    scores = [_task_scores(run, dataset, "sem_seg") for run in runs]
    names = [key.removeprefix("IoU-") for key in scores[0] if key.startswith("IoU-")] if scores else []
    return {name: [each.get(f"IoU-{name}") for each in scores] for name in names}


def _levels(runs: Sequence[Run], dataset: str) -> dict[str, list[float | None]]:
    """Of a pyramidal output, mIoU_<assigned>_<answering> of the strides, one value a run; empty for other models."""
    scores = [_task_scores(run, dataset, "levels") for run in runs]
    names = [key for key in scores[0] if re.fullmatch(r"mIoU_\d+_\d+", key)] if scores else []
    return {name: [each.get(name) for each in scores] for name in names}


def _metric(run: Run, dataset: str, metric: str) -> float:
    task, key = METRICS[metric]
    value = _task_scores(run, dataset, task).get(key)
    if not isinstance(value, int | float) or not math.isfinite(value):
        where = f"{run.folder / RESULTS}: {task} {key} on {dataset}"
        raise ValueError(f"{where} is {value}, but the row {run.row.name!r} reports it")
    return float(value)


def _task_scores(run: Run, dataset: str, task: str) -> dict[str, Any]:
    results = json.loads((run.folder / RESULTS).read_text(encoding="utf-8"))["results"]
    return results.get(dataset, {}).get(task, {})


def _difference(
    plan: AblationPlan, row: Row, runs: Sequence[Run], baseline: Sequence[Run], summary: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What the row has over its baseline, over the seeds that both have; None without such a seed."""
    theirs = {run.seed: run for run in baseline}
    pairs = [(run, theirs[run.seed]) for run in runs if run.seed in theirs]
    if not pairs:
        return None
    dataset = plan.datasets["val"]
    shared = set(row.metrics) & set(plan.row(baseline[0].row.name).metrics)
    difference: dict[str, Any] = {"seeds": [run.seed for run, _ in pairs]}
    for metric in METRICS:
        if metric not in shared:
            continue
        gains = [_metric(run, dataset, metric) - _metric(other, dataset, metric) for run, other in pairs]
        difference[metric] = {"mean": statistics.fmean(gains), "low": None, "high": None}
    if "miou" in shared:
        counts = [_paired_counts(run, other, dataset) for run, other in pairs]
        interval = paired_difference(np.stack([ours for ours, _ in counts]), np.stack([base for _, base in counts]))
        difference["miou"] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return difference


def _paired_counts(run: Run, other: Run, dataset: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3, K) counts of two runs, the images in one order."""
    ours_ids, ours = _counts(run, dataset)
    base_ids, base = _counts(other, dataset)
    if sorted(ours_ids) != sorted(base_ids):
        raise ValueError(f"{run.folder} and {other.folder} were evaluated on different images of {dataset}")
    return ours[np.argsort(ours_ids)], base[np.argsort(base_ids)]


def _counts(run: Run, dataset: str) -> tuple[np.ndarray, np.ndarray]:
    path = run.folder / "inference" / dataset / COUNTS
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, counts = file["image_ids"], file["per_image"]
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not the per-image counts of an evaluation: {error}") from None
    from_counts, reported = float(mean_iou(counts.sum(axis=0))), _metric(run, dataset, "miou")
    if abs(from_counts - reported) > MIOU_TOLERANCE:
        raise ValueError(f"{path}: its counts give mIoU {from_counts:.4f}, but results.json says {reported:.4f}")
    return ids, counts


def _keys(records: Sequence[Mapping[str, Any]], field: str) -> list[str]:
    return list(dict.fromkeys(key for record in records for key in record[field]))


def distinct(values: Any) -> str:
    """The values that differ, in order: one string, or all of them where runs were made at different places."""
    return "; ".join(dict.fromkeys(values))


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
