"""Intervals of the differences of two rows, from what their evaluations wrote about each image.

N = images, K = classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from unified_seg.evaluation.instances.matches import MATCHES_FILE, read_matches
from unified_seg.ops.metrics.average_precision import InstanceMatches, compute_resampled_ap
from unified_seg.ops.metrics.bootstrap import (
    Interval,
    bootstrap_ap_difference,
    bootstrap_difference,
    compute_mean_iou,
    compute_mean_pq,
)
from unified_seg.reporting.ablation.finished_run import FinishedRun, read_finished
from unified_seg.reporting.ablation.metrics import METRICS, find_metric
from unified_seg.reporting.ablation.runs import Run
from unified_seg.reporting.errors import ReportingError
from unified_seg_files import read_arrays

#: Of the two ways to compute a score, from the same sums: a hundredth of what the table shows.
TOLERANCE = 1e-4

#: Runs of a row, each with the run of the baseline that has the same seed.
Pairs = Sequence[tuple[FinishedRun, FinishedRun]]


class IntervalMetric(Protocol):
    """A metric whose differences have intervals.

    Attributes:
        file: in the folder of the evaluation, with numbers of each image.
    """

    @property
    def file(self) -> str: ...

    def check(self, run: FinishedRun, dataset: str) -> None:
        """Raise ReportingError if the file is damaged, or gives another score than the run reports."""

    def compare(self, pairs: Pairs, dataset: str) -> Interval | None:
        """Return the mean difference with its interval; None if evaluations of an earlier version wrote no such file.

        Raises:
            ReportingError: see `check`; or the runs were evaluated on different images.
        """

    def score_without(self, run: FinishedRun, dataset: str, left_out: Sequence[str]) -> float:
        """Return the score, in percent, of the images whose ids, as words, are not in `left_out`.

        Raises:
            ReportingError: see `check`; or a word of `left_out` is not the id of an image.
        """


@dataclass(frozen=True)
class CountedMetric:
    """A score that is computed from summed counts of the images.

    Attributes:
        name: of the metric.
        file: see `IntervalMetric`.
        counts: of a class in an image.
        compute: the score of summed counts, see `bootstrap.py`.
        is_new: whether evaluations of earlier versions wrote no such file.
    """

    name: str
    file: str
    counts: int
    compute: Callable[[np.ndarray], np.ndarray]
    is_new: bool

    def check(self, run: FinishedRun, dataset: str) -> None:
        self._read(run, dataset)

    def compare(self, pairs: Pairs, dataset: str) -> Interval | None:
        if self.is_new and not _have_files(pairs, dataset, self.file):
            return None
        sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for pair in pairs:
            read = [self._read(each, dataset) for each in pair]
            (ids, counts), (other_ids, other_counts) = read
            if counts.shape != other_counts.shape:
                raise _differ(pair, dataset)
            for side, numbers, order in zip(sides, (counts, other_counts), _sort_alike(pair, ids, other_ids, dataset)):
                side.append(numbers[order])
        return bootstrap_difference(np.stack(sides[0]), np.stack(sides[1]), self.compute)

    def score_without(self, run: FinishedRun, dataset: str, left_out: Sequence[str]) -> float:
        ids, counts = self._read(run, dataset)
        return float(self.compute(counts[_find_kept(ids, left_out, dataset)].sum(axis=0)))

    def _read(self, run: FinishedRun, dataset: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the (N,) ids of the images and their (N, counts, K) counts."""
        path = find_file(run, dataset, self.file)
        try:
            ids, counts = read_arrays(path, ["image_ids", "per_image"])
        except (OSError, ValueError) as error:
            raise ReportingError(f"{path}: not the counts of an evaluation: {error}; evaluate the run again") from None
        is_numbers = counts.dtype.kind in "iuf" and counts.ndim == 3 and counts.shape[1] == self.counts
        if not is_numbers or ids.dtype.kind not in "Uiu" or ids.shape != counts.shape[:1]:
            raise ReportingError(
                f"{path}: image_ids {ids.dtype} {ids.shape} and per_image {counts.dtype} {counts.shape} are not the "
                "counts of an evaluation; evaluate the run again"
            )
        _check_score(path, run, dataset, self.name, float(self.compute(counts.sum(axis=0))))
        return ids, counts


@dataclass(frozen=True)
class AveragePrecisionMetric:
    """Mask AP, which is computed from the matches of detections and objects."""

    file: str = MATCHES_FILE

    def check(self, run: FinishedRun, dataset: str) -> None:
        self._read(run, dataset)

    def compare(self, pairs: Pairs, dataset: str) -> Interval | None:
        if not _have_files(pairs, dataset, self.file):
            return None
        sides: tuple[list[InstanceMatches], list[InstanceMatches]] = ([], [])
        for pair in pairs:
            (ids, matches), (other_ids, other_matches) = (self._read(each, dataset) for each in pair)
            for side, each, order in zip(sides, (matches, other_matches), _sort_alike(pair, ids, other_ids, dataset)):
                place = np.argsort(order)
                side.append(each._replace(image=place[each.image], object_image=place[each.object_image]))
        return bootstrap_ap_difference(*sides, images=len(ids))

    def score_without(self, run: FinishedRun, dataset: str, left_out: Sequence[str]) -> float:
        ids, matches = self._read(run, dataset)
        times = _find_kept(ids, left_out, dataset).astype(np.int64)
        return float(compute_resampled_ap(matches, times[None])[0])

    def _read(self, run: FinishedRun, dataset: str) -> tuple[np.ndarray, InstanceMatches]:
        """Return the (N,) ids of the images and their matches."""
        path = find_file(run, dataset, self.file)
        try:
            ids, matches = read_matches(path)
        except (OSError, ValueError) as error:
            raise ReportingError(f"{path}: not the matches of an evaluation: {error}; evaluate the run again") from None
        computed = compute_resampled_ap(matches, np.ones((1, len(ids)), dtype=np.int64))
        _check_score(path, run, dataset, "ap", float(computed[0]))
        return ids, matches


INTERVALS: Mapping[str, IntervalMetric] = {
    "miou": CountedMetric("miou", "sem_seg.npz", 3, compute_mean_iou, is_new=False),
    "pq": CountedMetric("pq", "panoptic_seg.npz", 4, compute_mean_pq, is_new=True),
    "ap": AveragePrecisionMetric(),
}


def check_run(run: Run, dataset: str) -> None:
    """Check that a finished run has what its row reports, and numbers of the images that give the same scores.

    Raises:
        ReportingError: it has not; it names the file.
    """
    if (finished := read_finished(run)) is None:
        return
    for name in run.row.metrics:
        if (metric := find_metric(name)) is not None:
            finished.get_score(dataset, metric)
        if name in INTERVALS and find_file(finished, dataset, INTERVALS[name].file).is_file():
            INTERVALS[name].check(finished, dataset)


def find_file(run: FinishedRun, dataset: str, name: str) -> Path:
    """Return the path of a file that the evaluation on a data set wrote."""
    return run.run.folder / "inference" / dataset / name


def _have_files(pairs: Pairs, dataset: str, name: str) -> bool:
    return all(find_file(each, dataset, name).is_file() for pair in pairs for each in pair)


def _sort_alike(
    pair: tuple[FinishedRun, FinishedRun], ids: np.ndarray, other_ids: np.ndarray, dataset: str
) -> tuple[Any, Any]:
    """Return the (N,) indices that bring the images of both runs into one order."""
    if sorted(ids) != sorted(other_ids):
        raise _differ(pair, dataset)
    return np.argsort(ids), np.argsort(other_ids)


def _find_kept(ids: np.ndarray, left_out: Sequence[str], dataset: str) -> np.ndarray:
    """Return (N,) bool, whether an image is not left out."""
    words = ids.astype(str)
    if unknown := sorted(set(left_out) - set(words)):
        raise ReportingError(f"{dataset} has no image {', '.join(unknown)}")
    return ~np.isin(words, left_out)


def _differ(pair: tuple[FinishedRun, FinishedRun], dataset: str) -> ReportingError:
    folders = " and ".join(str(each.run.folder) for each in pair)
    return ReportingError(
        f"{folders}: evaluated on different images or classes of {dataset}; evaluate one of them again"
    )


def _check_score(path: Path, run: FinishedRun, dataset: str, name: str, computed: float) -> None:
    reported = run.get_score(dataset, METRICS[name])
    if reported is None or abs(computed - reported) > TOLERANCE:
        raise ReportingError(
            f"{path}: its numbers give {METRICS[name].caption} {computed:.4f}, but results.json has {reported}; "
            "evaluate the run again"
        )
