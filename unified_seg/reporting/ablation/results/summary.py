"""Summarize the folders of the runs as results.json, which holds everything that the tables need."""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unified_seg.reporting.ablation.finished_run import FinishedRun, read_finished
from unified_seg.reporting.ablation.metrics import METRICS, Metric, find_metric
from unified_seg.reporting.ablation.plan import AblationPlan, Row
from unified_seg.reporting.ablation.results.intervals import INTERVALS
from unified_seg.reporting.ablation.runs import Run


def summarize(plan: AblationPlan, runs: Sequence[Run]) -> dict[str, Any]:
    """Return the content of results.json for the finished runs, without the command that repeats them.

    Args:
        plan: the ablation.
        runs: all that there may be, of any row and seed; unfinished ones are left out.

    Raises:
        ReportingError: a run's files lack a metric that its row reports, or contradict each other.
    """
    finished = [each for run in runs if (each := read_finished(run)) is not None]
    by_row = {row.name: [each for each in finished if each.run.row == row] for row in plan.rows}
    records = [each.record for each in finished]
    packages = dict.fromkeys(name for record in records for name in record.versions)
    toyscapes = plan.toyscapes
    return {
        "project": plan.project,
        "machine": join_distinct(record.machine for record in records),
        "versions": {
            name: join_distinct(record.versions[name] for record in records if name in record.versions)
            for name in packages
        },
        "toyscapes": toyscapes.version if toyscapes else None,
        "data": {
            "datasets": dict(plan.datasets),
            "toyscapes": toyscapes.as_dict() if toyscapes else None,
            **({"images": dict(plan.images)} if plan.images else {}),
        },
        "commit": join_distinct(record.commit for record in records),
        "budget": dict(plan.budget),
        "rows": [_summarize_row(plan, row, by_row) for row in plan.rows],
    }


def join_distinct(values: Iterable[str]) -> str:
    """Return the different values in their order: one, or several if runs were made at different places."""
    return "; ".join(dict.fromkeys(values))


def _summarize_row(plan: AblationPlan, row: Row, by_row: Mapping[str, list[FinishedRun]]) -> dict[str, Any]:
    runs, metrics = by_row[row.name], _collect_metrics(plan)
    dataset = plan.reported
    iterations = sum(count for _, count in runs[0].run.trainings) if runs and row.kind == "train" else 0
    summary: dict[str, Any] = {
        "name": row.name,
        "config": row.config,
        "overrides": dict(row.overrides),
        "kind": row.kind,
        "base": row.base,
        "baseline": row.baseline,
        "iterations": iterations,
        "batch": runs[0].run.config["SOLVER.IMS_PER_BATCH"] if runs else None,
        "seeds": [each.run.seed for each in runs],
        **_collect_scores(row, runs, metrics, dataset),
        "iou": _collect_class_iou(row, runs, dataset),
        "levels": _collect_levels(runs, dataset),
        "train_s": [None if each.record.train_s is None else round(each.record.train_s, 1) for each in runs],
    }
    if plan.choices is not None:
        key, chosen_on = plan.choices
        summary[key] = _collect_scores(row, runs, metrics, chosen_on)
    if row.baseline is not None:
        summary["difference"] = _compare(runs, by_row[row.baseline], metrics, dataset)
    return summary


def _collect_metrics(plan: AblationPlan) -> dict[str, Metric]:
    """Return the metrics of every model, then those that some row reports."""
    reported = {name: find_metric(name) for row in plan.rows for name in row.metrics}
    return METRICS | {name: metric for name, metric in reported.items() if metric is not None}


def _collect_scores(
    row: Row, runs: Sequence[FinishedRun], metrics: Mapping[str, Metric], dataset: str
) -> dict[str, list[float | None]]:
    """Return by metric one score per run; None for the metrics that the row does not report, or that are undefined."""
    reported = row.metrics
    return {
        name: [each.get_score(dataset, metric) if name in reported else None for each in runs]
        for name, metric in metrics.items()
    }


def _collect_class_iou(row: Row, runs: Sequence[FinishedRun], dataset: str) -> dict[str, list[float | None]]:
    """Return by class one IoU per run; None if the class does not occur. Empty for a row that reports no mIoU."""
    if "miou" not in row.metrics:
        return {}
    scores = [each.get_scores(dataset, "sem_seg") for each in runs]
    names = [key.removeprefix("IoU-") for key in scores[0] if key.startswith("IoU-")] if scores else []
    return {name: [each.get(f"IoU-{name}") for each in scores] for name in names}


def _collect_levels(runs: Sequence[FinishedRun], dataset: str) -> dict[str, list[float | None]]:
    """Return by mIoU_<assigned stride>_<predicting stride> one score per run; empty for models without levels."""
    scores = [each.get_scores(dataset, "levels") for each in runs]
    names = [key for key in scores[0] if re.fullmatch(r"mIoU_\d+_\d+", key)] if scores else []
    return {name: [each.get(name) for each in scores] for name in names}


def _compare(
    runs: Sequence[FinishedRun], baseline: Sequence[FinishedRun], metrics: Mapping[str, Metric], dataset: str
) -> dict[str, Any] | None:
    """Return the differences to the baseline over the seeds that both have; None without such a seed."""
    baseline_of = {each.run.seed: each for each in baseline}
    pairs = [(each, baseline_of[each.run.seed]) for each in runs if each.run.seed in baseline_of]
    if not pairs:
        return None
    difference: dict[str, Any] = {"seeds": [each.run.seed for each, _ in pairs]}
    reported = set(runs[0].run.row.metrics) & set(baseline[0].run.row.metrics)
    for name, metric in metrics.items():
        if name not in reported:
            continue
        scores = [(each.get_score(dataset, metric), other.get_score(dataset, metric)) for each, other in pairs]
        gains = [score - before for score, before in scores if score is not None and before is not None]
        if len(gains) == len(pairs):
            difference[name] = {"mean": statistics.fmean(gains), "low": None, "high": None}
    for name in INTERVALS.keys() & difference.keys():
        if (interval := INTERVALS[name].compare(pairs, dataset)) is not None:
            difference[name] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return difference
