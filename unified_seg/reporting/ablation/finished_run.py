"""The record and the scores of a finished run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from unified_seg.reporting.ablation.metrics import Metric
from unified_seg.reporting.ablation.run_files import RESULTS, RunRecord, read_record, read_results
from unified_seg.reporting.ablation.runs import Run, State
from unified_seg.reporting.errors import ReportingError

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class FinishedRun:
    """A finished run with the content of its files.

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


def read_finished(run: Run) -> FinishedRun | None:
    """Return a run with its files; None if it is not finished.

    Raises:
        ReportingError: see `read_results`.
    """
    if run.find_state() is not State.FINISHED or (record := read_record(run.folder)) is None:
        return None
    return FinishedRun(run, record, read_results(run.folder).results)
