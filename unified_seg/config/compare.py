"""What two configs say otherwise."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode


def flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of nested nodes, such as SOLVER.MAX_ITER, with their values."""
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + str(key), value


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys of two flat configs whose values differ, in words; keys that only one of them has don't count."""
    changed = [key for key in now if key in before and before[key] != now[key]]
    return [f"{key} was {before[key]!r}, is {now[key]!r}" for key in changed]


def changed_since(file: Path, cfg: CfgNode) -> list[str]:
    """The `differences` of a config from that of an earlier run.

    Args:
        file: its config.yaml, which need not be there or whole.
        cfg: the config now.
    """
    try:
        before = CfgNode(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError):  # not there, or cut off where a run was killed
        return []
    now = CfgNode(yaml.safe_load(cfg.dump()))  # tuples are lists there too
    return differences(dict(flatten(before)), dict(flatten(now)))
