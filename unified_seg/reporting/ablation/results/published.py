"""The results.json of a project: read, and combined with runs that were made at another place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from unified_seg.data.io.text_files import read_json
from unified_seg.data.problems import DataError
from unified_seg.hints import format_hint
from unified_seg.reporting.ablation.results.summary import join_distinct
from unified_seg.reporting.errors import ReportingError
from unified_seg.words import join_some

#: Keys of results.json that must be equal for two runs to stand in one table.
SHARED = ("project", "data", "budget")
#: Keys that define a row. A changed config file is not noticed: such a row has to be run again.
DEFINITION = ("config", "overrides", "kind", "base", "baseline")
RESULTS_FILE = "results.json"

Scores = list[float | None]


class _Interval(msgspec.Struct):
    mean: float
    low: float | None
    high: float | None


class _Row(msgspec.Struct):
    """What the tables need of each row; it has the scores of other metrics too."""

    name: str
    config: str
    overrides: dict[str, Any]
    kind: str
    base: str | None
    baseline: str | None
    iterations: int
    seeds: list[int]
    miou: Scores
    train_s: Scores
    iou: dict[str, Scores] = {}
    levels: dict[str, Scores] = {}
    difference: dict[str, list[int] | _Interval] | None = None


class _Results(msgspec.Struct):
    """What `summarize` returns, with the command that repeats it."""

    project: str
    command: str
    machine: str
    commit: str
    versions: dict[str, str]
    data: dict[str, Any]
    budget: dict[str, Any]
    rows: list[_Row]


def read_published(project: Path) -> dict[str, Any] | None:
    """Read the results.json of a project's folder; None if there is no such file.

    Raises:
        DataError: it can't be read, or is not the results of an ablation; the message has the path.
    """
    path = project / RESULTS_FILE
    if not path.exists():
        return None
    content = read_json(path)
    try:
        msgspec.convert(content, _Results)
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: not the results of an ablation: {error}; take an older version of it") from None
    return content


def check_kept(
    results: Mapping[str, Any], published: Mapping[str, Any], planned: set[tuple[str, int]], path: Path
) -> None:
    """Check that new results would have all published runs of the rows that are still defined as they were.

    Args:
        results: of the runs that are finished here.
        published: of `read_published`.
        planned: name of the row and seed of each run that is about to be done.
        path: of the published results.

    Raises:
        ReportingError: some would be lost.
    """
    before = {row["name"]: row for row in published["rows"]}
    lost = [
        f"{row['name']} (seed {seed})"
        for row in results["rows"]
        if (old := before.get(row["name"])) is not None and all(old[key] == row[key] for key in DEFINITION)
        for seed in old["seeds"]
        if seed not in row["seeds"] and (row["name"], seed) not in planned
    ]
    if lost:
        raise ReportingError(
            f"{path}: has {join_some(lost, 3)}, but this machine has no such run, so that the new table would lack it; "
            f"{format_hint('--keep-published')} keeps it, or delete results.json and runs.zip to begin anew"
        )


def keep_published(results: Mapping[str, Any], published: Mapping[str, Any]) -> dict[str, Any]:
    """Return results in which the rows that were published with more seeds than were run here stay unchanged.

    Args:
        results: of `summarize`.
        published: an earlier results.json, whose runs need not be here.

    Raises:
        ReportingError: the two are of other data, or of another budget.
    """
    for key in SHARED:
        if results[key] != published.get(key):
            raise ReportingError(
                f"projects/{results['project']}/results.json: {key} is {published.get(key)}, but "
                f"{results[key]} in ablation.yaml; run without --keep-published"
            )
    before = {row["name"]: row for row in published["rows"]}
    rows = [_choose_row(row, before.get(row["name"])) for row in results["rows"]]
    old, new = published["versions"], results["versions"]
    versions = {key: _join(old.get(key, ""), new.get(key, "")) for key in {**old, **new}}
    places = {key: _join(published[key], results[key]) for key in ("machine", "commit")}
    return {**results, **places, "versions": versions, "rows": rows}


def list_seeds(results: Mapping[str, Any]) -> set[int]:
    """Return the seeds that at least one row has."""
    return {seed for row in results["rows"] for seed in row["seeds"]}


def _choose_row(row: Mapping[str, Any], published: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if published is None or any(published[key] != row[key] for key in DEFINITION):
        return row
    return published if len(published["seeds"]) > len(row["seeds"]) else row


def _join(before: str, now: str) -> str:
    """Join two results of `join_distinct`."""
    return join_distinct(value for value in (*before.split("; "), *now.split("; ")) if value)
