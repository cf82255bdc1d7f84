"""Cells of the tables, from the rows of a results.json."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

EMPTY = "–"


def format_mean(values: Sequence[float | None], digits: int = 1) -> str:
    """Return the mean over the runs that have a value."""
    known = drop_missing(values)
    return f"{statistics.fmean(known):.{digits}f}" if known else EMPTY


def format_mean_and_spread(values: Sequence[float | None]) -> str:
    """Return the mean and, of several runs, the sample standard deviation."""
    known = drop_missing(values)
    if len(known) < 2:
        return f"{known[0]:.2f}" if known else EMPTY
    return f"{statistics.fmean(known):.2f} ± {statistics.stdev(known):.2f}"


def format_difference(row: Mapping[str, Any], metric: str) -> str:
    """Return a row's difference to its baseline, with the interval if the metric has one."""
    found = (row.get("difference") or {}).get(metric)
    if found is None:
        return EMPTY
    cell = f"{found['mean']:+.2f}"
    return cell if found["low"] is None else f"{cell} [{found['low']:+.2f}, {found['high']:+.2f}]"


def format_minutes(row: Mapping[str, Any]) -> str:
    """Return the mean minutes of training; empty for a row that was not trained."""
    return format_mean([seconds / 60 for seconds in drop_missing(row["train_s"])]) if row["iterations"] else EMPTY


def drop_missing(values: Sequence[float | None]) -> list[float]:
    """Return the values that are not None."""
    return [value for value in values if value is not None]
