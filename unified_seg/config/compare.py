"""Differences of two configs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode


def flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of nested nodes, such as SOLVER.MAX_ITER, with their values."""
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + str(key), value


def describe_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each key whose value differs between two flat configs; keys of only one don't count."""
    changed = [key for key in now if key in before and before[key] != now[key]]
    return [f"{key} was {before[key]!r}, is {now[key]!r}" for key in changed]


def describe_changes(file: Path, cfg: CfgNode) -> list[str]:
    """Return the differences of a config from that of an earlier run, see `describe_differences`.

    Args:
        file: the config.yaml of the earlier run; without it, or if it is damaged, there are no differences.
        cfg: the config now.
    """
    try:
        before = CfgNode(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError):  # absent, or incomplete since the run was killed
        return []
    now = CfgNode(yaml.safe_load(cfg.dump()))  # yaml makes lists of tuples
    return describe_differences(dict(flatten(before)), dict(flatten(now)))
