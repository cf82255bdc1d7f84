"""Results that were made at several places, in one results.json."""

from collections.abc import Mapping
from typing import Any

from unified_seg.reporting.ablation.summary import distinct

#: What must be the same for two runs to stand in one table.
SHARED = ("project", "data", "budget")
#: What a row is. A config file that says something else now is not noticed: the row is to be run again then.
DEFINITION = ("config", "overrides", "kind", "base", "baseline")


def keep_published(results: Mapping[str, Any], published: Mapping[str, Any]) -> dict[str, Any]:
    """Results in which a row that was published with more seeds than were run here stays as it was.

    Args:
        results: of `summarize`.
        published: an earlier results.json, whose runs need not be here.

    Raises:
        ValueError: the two are of other data, or of another budget.
    """
    for key in SHARED:
        if results[key] != published.get(key):
            raise ValueError(f"the published results have another {key}: {published.get(key)}, now {results[key]}")
    before = {row["name"]: row for row in published["rows"]}
    rows = [_with_more_seeds(row, before.get(row["name"])) for row in results["rows"]]
    old, new = published["versions"], results["versions"]
    versions = {key: _joined(old.get(key, ""), new.get(key, "")) for key in {**old, **new}}
    places = {key: _joined(published[key], results[key]) for key in ("machine", "commit")}
    return {**results, **places, "versions": versions, "rows": rows}


def seeds_of(results: Mapping[str, Any]) -> set[int]:
    """The seeds that some row has."""
    return {seed for row in results["rows"] for seed in row["seeds"]}


def _with_more_seeds(row: Mapping[str, Any], before: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if before is None or any(before[key] != row[key] for key in DEFINITION):
        return row
    return before if len(before["seeds"]) > len(row["seeds"]) else row


def _joined(before: str, now: str) -> str:
    """Those of `distinct` from both."""
    return distinct(value for value in (*before.split("; "), *now.split("; ")) if value)
