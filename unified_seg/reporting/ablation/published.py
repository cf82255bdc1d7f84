"""Results that were made at several places, in one results.json."""

from collections.abc import Mapping
from typing import Any

from unified_seg.reporting.ablation.summary import join_distinct
from unified_seg.reporting.errors import ReportingError

#: Keys of results.json that must be equal for two runs to stand in one table.
SHARED = ("project", "data", "budget")
#: Keys that define a row. A changed config file is not noticed: such a row has to be run again.
DEFINITION = ("config", "overrides", "kind", "base", "baseline")


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
