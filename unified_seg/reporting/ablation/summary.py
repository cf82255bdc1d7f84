"""Summarize the folders of the runs as results.json, which holds everything that the tables need.

N = images, K = classes.
"""

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.ops.metrics.bootstrap import bootstrap_difference, compute_mean_iou, compute_mean_pq
from unified_seg.reporting.ablation.metrics import METRICS, Metric, find_metric
from unified_seg.reporting.ablation.plan import AblationPlan, Row
from unified_seg.reporting.ablation.run_files import RESULTS, RunRecord, read_record, read_results
from unified_seg.reporting.ablation.runs import Run, State
from unified_seg.reporting.errors import ReportingError
from unified_seg_files import read_arrays

#: The metrics whose differences have intervals: the file of the counts of each image, and the score of summed counts.
COUNTS = {"miou": ("sem_seg.npz", compute_mean_iou), "pq": ("panoptic_seg.npz", compute_mean_pq)}
#: The counts of a class in an image, see `bootstrap.py`.
NUM_COUNTS = {"miou": 3, "pq": 4}
#: Of the two ways to compute a score, from the same sums: a hundredth of what the table shows.
TOLERANCE = 1e-4

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, with the content of its files.

    Attributes:
        run: the row and the seed.
        record: how it was run.
        results: data set -> task -> metric -> percent.
    """

    run: Run
    record: RunRecord
    results: Mapping[str, Mapping[str, Scores]]

    def get_scores(self, dataset: str, task: str) -> Scores:
        """Return the scores by metric; empty if the run has none."""
        return self.results.get(dataset, {}).get(task, {})

    def get_score(self, dataset: str, metric: Metric) -> float | None:
        """Return a score that the row reports, in percent; None if it is undefined.

        Raises:
            ReportingError: the results lack it, or it is infinite.
        """
        scores = self.get_scores(dataset, metric.task)
        value = scores.get(metric.key)
        if metric.key not in scores or (value is not None and not math.isfinite(value)):
            raise ReportingError(
                f"{self.run.folder / RESULTS}: {metric.task} {metric.key} on {dataset} is {value}, but row "
                f"{self.run.row.name!r} reports it; evaluate the run again, or take the metric out of the row"
            )
        return value


def summarize(plan: AblationPlan, runs: Sequence[Run], command: str) -> dict[str, Any]:
    """Return the content of results.json for the finished runs.

    Args:
        plan: the ablation.
        runs: all that there may be, of any row and seed; unfinished ones are left out.
        command: what the user types to repeat it.

    Raises:
        ReportingError: a run's files lack a metric that its row reports, or contradict each other.
    """
    finished = [each for run in runs if (each := _read_finished(run)) is not None]
    by_row = {row.name: [each for each in finished if each.run.row == row] for row in plan.rows}
    records = [each.record for each in finished]
    packages = dict.fromkeys(name for record in records for name in record.versions)
    toyscapes = plan.toyscapes
    return {
        "project": plan.project,
        "command": command,
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


def _read_finished(run: Run) -> FinishedRun | None:
    if run.find_state() is not State.FINISHED or (record := read_record(run.folder)) is None:
        return None
    return FinishedRun(run, record, read_results(run.folder).results)


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
    for name in COUNTS.keys() & difference.keys():
        files = [_find_counts(each, dataset, name) for pair in pairs for each in pair]
        if name == "pq" and not all(file.is_file() for file in files):
            continue  # runs of earlier versions have no counts of it
        counts = [_read_paired_counts(each, other, dataset, name) for each, other in pairs]
        method_counts, baseline_counts = (np.stack(part) for part in zip(*counts))
        interval = bootstrap_difference(method_counts, baseline_counts, COUNTS[name][1])
        difference[name] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return difference


def check_run(run: Run, dataset: str) -> None:
    """Check that a finished run has what its row reports, and counts that give the same scores.

    Raises:
        ReportingError: it has not; it names the file.
    """
    if (finished := _read_finished(run)) is None:
        return
    for name in run.row.metrics:
        if (metric := find_metric(name)) is not None:
            finished.get_score(dataset, metric)
        if name in COUNTS and _find_counts(finished, dataset, name).is_file():
            _read_counts(finished, dataset, name)


def _find_counts(run: FinishedRun, dataset: str, metric: str) -> Path:
    return run.run.folder / "inference" / dataset / COUNTS[metric][0]


def _read_paired_counts(
    run: FinishedRun, other: FinishedRun, dataset: str, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the (N, 3 or 4, K) counts of two runs, the images in one order."""
    ids, counts = _read_counts(run, dataset, metric)
    other_ids, other_counts = _read_counts(other, dataset, metric)
    if sorted(ids) != sorted(other_ids) or counts.shape != other_counts.shape:
        folders = f"{run.run.folder} and {other.run.folder}"
        raise ReportingError(
            f"{folders}: evaluated on different images or classes of {dataset}; evaluate one of them again"
        )
    return counts[np.argsort(ids)], other_counts[np.argsort(other_ids)]


def _read_counts(run: FinishedRun, dataset: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the (N,) ids of the images and their (N, 3 or 4, K) counts, see `bootstrap.py`."""
    path, compute = _find_counts(run, dataset, metric), COUNTS[metric][1]
    try:
        ids, counts = read_arrays(path, ["image_ids", "per_image"])
    except (OSError, ValueError) as error:
        raise ReportingError(f"{path}: not the counts of an evaluation: {error}; evaluate the run again") from None
    is_numbers = counts.dtype.kind in "iuf" and counts.ndim == 3 and counts.shape[1] == NUM_COUNTS[metric]
    if not is_numbers or ids.dtype.kind not in "Uiu" or ids.shape != counts.shape[:1]:
        raise ReportingError(
            f"{path}: image_ids {ids.dtype} {ids.shape} and per_image {counts.dtype} {counts.shape} are not the counts "
            "of an evaluation; evaluate the run again"
        )
    from_counts, reported = float(compute(counts.sum(axis=0))), run.get_score(dataset, METRICS[metric])
    if reported is None or abs(from_counts - reported) > TOLERANCE:
        raise ReportingError(
            f"{path}: its counts give {METRICS[metric].caption} {from_counts:.4f}, but results.json has {reported}; "
            "evaluate the run again"
        )
    return ids, counts
