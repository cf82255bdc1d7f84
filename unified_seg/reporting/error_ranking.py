"""A ranking of images by predicted error or entropy: its files, and its rank correlation with that by true error.

N = images with ground truth, R = resamples.
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from tabulate import tabulate

from unified_seg_files import escape_cell, write_rows

RESAMPLES = 2_000
BATCH = 500  # resamples at a time, to bound the memory for data sets of thousands of images

Record = dict[str, Any]


class Measures(NamedTuple):
    """The columns of ranking.csv for an image, all in [0, 1].

    Attributes:
        predicted_error: mean error probability of the pixels; NaN of a model that predicts no errors.
        predicted_error_share: share of the pixels whose error probability is above ERROR_CORRECTION.THRESHOLD; NaN as
            well.
        mean_entropy: mean softmax entropy of the prediction before correction, as a share of the largest entropy; of a
            detector alone that of the scores of its detections.
        true_error: share of the labeled pixels that are wrong before correction; NaN without ground truth.
    """

    predicted_error: float
    predicted_error_share: float
    mean_entropy: float
    true_error: float

    @property
    def has_true_error(self) -> bool:
        return not math.isnan(self.true_error)

    @property
    def uncertainty(self) -> float:
        """What images are ranked by: the predicted error or, of a model that predicts none, the entropy."""
        return self.mean_entropy if math.isnan(self.predicted_error) else self.predicted_error


#: A record and its measures.
Ranked = tuple[Record, Measures]


class Interval(NamedTuple):
    """A value and the bounds of its 95 % interval; NaN if they are undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


class RankComparison(NamedTuple):
    """Rank correlations with the true error, in [-1, 1], and the first minus the second."""

    predicted_error: Interval
    mean_entropy: Interval
    difference: Interval


def compare_rankings(ranked: Sequence[Ranked], resamples: int = RESAMPLES) -> RankComparison | None:
    """Compare how well predicted error and entropy rank the images with ground truth.

    The correlation is Spearman's, with ties at their mean rank. The intervals are percentiles of a bootstrap over
    images, paired: a resample draws N images with replacement, the same for both scores. Resamples without a
    correlation, because all their values are equal, are left out. The random numbers are fixed.

    Args:
        ranked: images, with or without ground truth.
        resamples: R.

    Returns:
        The comparison; None if no image has ground truth.
    """
    known = [measures for _, measures in ranked if measures.has_true_error]
    if not known:
        return None
    error, _, entropy, true_error = np.array(known).T
    error = np.nan_to_num(error, nan=0.0)  # without a prediction all are equal, and there is no correlation
    scores = (error, entropy, true_error)
    values, bounds = np.full(3, np.nan), np.full((2, 3), np.nan)
    if len(known) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about scores and resamples whose values are all equal
            values = _correlate(*scores)
            rng = np.random.default_rng(0)
            options: dict[str, Any] = {"paired": True, "vectorized": True, "method": "percentile"}
            result = stats.bootstrap(scores, _correlate, n_resamples=resamples, batch=BATCH, rng=rng, **options)
            bounds = np.nanpercentile(result.bootstrap_distribution, [2.5, 97.5], axis=-1)
    return RankComparison(*(Interval(*each) for each in zip(values.tolist(), *bounds.tolist())))


def _correlate(error: np.ndarray, entropy: np.ndarray, true_error: np.ndarray, axis: int = -1) -> np.ndarray:
    """(..., N) each -> (3, ...) rank correlations of both scores with the true error, and their difference."""
    # scipy's spearmanr takes no axis for pairs of arrays; it is Pearson's correlation of the ranks.
    ranks = [stats.rankdata(score, axis=axis) for score in (error, entropy, true_error)]
    first, second = (stats.pearsonr(each, ranks[2], axis=axis).statistic for each in ranks[:2])
    return np.stack([first, second, first - second])


def write_ranking(file: Path, ranked: Sequence[Ranked]) -> None:
    """Write a line for each image, in the given order, with the measures that any image has.

    Raises:
        OSError: the file can't be written.
    """
    columns = _list_known(ranked)
    rows: list[list[object]] = [["rank", "file_name", *columns]]
    for rank, (record, measures) in enumerate(ranked, start=1):
        values = (getattr(measures, column) for column in columns)
        numbers = ["" if math.isnan(value) else f"{value:.6f}" for value in values]
        rows.append([rank, escape_cell(record["file_name"]), *numbers])
    write_rows(file, rows)


def summarize(ranked: Sequence[Ranked], comparison: RankComparison | None) -> dict[str, Any]:
    """Return the numbers of summary.json, with null for undefined ones."""
    known = [name for name in _list_known(ranked) if name != "true_error"]
    means: dict[str, float] = {name: fmean(getattr(m, name) for _, m in ranked) for name in known}
    true_errors = [m.true_error for _, m in ranked if m.has_true_error]
    summary: dict[str, Any] = {"images": len(ranked), "images_with_ground_truth": len(true_errors), "mean": means}
    if comparison is not None:
        means["true_error"] = fmean(true_errors)
        summary["rank_correlation"] = {
            name: {bound: None if math.isnan(value) else value for bound, value in interval._asdict().items()}
            for name, interval in comparison._asdict().items()
        }
    return summary


def _list_known(ranked: Sequence[Ranked]) -> list[str]:
    """Return the measures that any image has."""
    return [name for i, name in enumerate(Measures._fields) if not all(math.isnan(m[i]) for _, m in ranked)]


def describe(comparison: RankComparison, images: int, predicts_errors: bool) -> str:
    """Format the comparison in one line.

    Args:
        comparison: see `compare_rankings`.
        images: with ground truth.
        predicts_errors: whether the model does; else the entropy is the only ranking.
    """
    parts = [f"{words} {interval}" for words, interval in _name_intervals(comparison, predicts_errors)]
    return f"rank correlation with the true error over {images} images, 95 % interval: {', '.join(parts)}"


def format_table(
    comparison: RankComparison, images: int, predicts_errors: bool, *, dataset: str, model_file: str
) -> str:
    """Format the comparison as Markdown, with its source; see `describe`."""
    lines = [[words, str(interval)] for words, interval in _name_intervals(comparison, predicts_errors)]
    headers = ["ranked by", "rank correlation with the true error"]
    table = tabulate(lines, headers, tablefmt="github", disable_numparse=True)
    return (
        f"{table}\n\n- {images} images of `{dataset}`, `{Path(model_file).as_posix()}`; in brackets the "
        "95 % bootstrap interval over the images."
    )


def _name_intervals(comparison: RankComparison, predicts_errors: bool) -> list[tuple[str, Interval]]:
    named = list(zip(("predicted error", "mean softmax entropy", "difference"), comparison))
    return named if predicts_errors else named[1:2]
