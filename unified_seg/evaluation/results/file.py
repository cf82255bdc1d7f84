"""The results.json of an evaluation."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unified_seg.data.io.text_files import read_json, read_json_object, write_json
from unified_seg.data.problems import DataError
from unified_seg.evaluation.results.environment import get_versions, name_machine

Results = Mapping[str, Mapping[str, Mapping[str, float]]]  # data set -> task -> metric -> percent


def save_results(path: str | Path, results: Results, *, eval_s: float, weights: str) -> dict[str, Any]:
    """Write results.json in one step: a crash or a full disk leaves an older file unchanged.

    Args:
        path: the file; its folder is made if need be.
        results: data set -> task -> metric -> percent. NaN (a class without a value) becomes null.
        eval_s: seconds that the evaluation took.
        weights: the evaluated MODEL.WEIGHTS. If an earlier file is of the same, its train_s is kept.

    Returns:
        The content of the file: results, eval_s, weights, versions, machine, train_s if known.
    """
    path = Path(path)
    content: dict[str, Any] = {
        "results": _replace_nan(results),
        "eval_s": eval_s,
        "weights": str(weights),
        "versions": get_versions(),
        "machine": name_machine(),
    }
    try:
        earlier = read_json(path)
    except DataError:  # no such file, or a damaged one, which is replaced
        earlier = {}
    if isinstance(earlier, dict) and "train_s" in earlier and earlier.get("weights") == content["weights"]:
        content["train_s"] = earlier["train_s"]
    write_json(path, content)
    return content


def add_to_results(path: str | Path, **values: Any) -> None:
    """Add top-level entries, such as train_s, to an existing results.json; raises DataError."""
    path = Path(path)
    write_json(path, {**read_json_object(path), **values})


def _replace_nan(value: Any) -> Any:
    """Return nested mappings with None for NaN, which JSON lacks, and Python's numbers for numpy's."""
    if isinstance(value, Mapping):
        return {str(key): _replace_nan(inner) for key, inner in value.items()}
    number = float(value)
    return None if math.isnan(number) else number
