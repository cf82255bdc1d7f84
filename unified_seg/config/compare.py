"""Differences of two configs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from detectron2.config import CfgNode

from unified_seg.config.reading import YamlLoader

# Values are shortened to about this many characters in messages.
MAX_CHARACTERS = 200


@dataclass(frozen=True)
class Change:
    """A key whose value differs between two configs."""

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        before, now = _shorten(self.before), _shorten(self.now)
        return f"{self.key} has changed after {before}" if before == now else f"{self.key} was {before}, is {now}"


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


def find_changes(before: CfgNode, now: CfgNode) -> list[Change]:
    """Return the keys whose values differ, in the order of `now`; keys of only one don't count."""
    values = {key: _with_lists(value) for key, value in flatten(before)}
    later = ((key, _with_lists(value)) for key, value in flatten(now))
    return [Change(key, values[key], value) for key, value in later if key in values and values[key] != value]


def _with_lists(value: Any) -> Any:
    """Return a value with lists in place of tuples, which a config that was dumped does not have."""
    if isinstance(value, dict):
        return {key: _with_lists(inner) for key, inner in value.items()}
    return list(map(_with_lists, value)) if isinstance(value, (list, tuple)) else value


def load_dump(text: str) -> CfgNode | None:
    """Return the config that was dumped as this text; None if it is incomplete, since the run was killed."""
    try:
        values = yaml.load(text, YamlLoader)
    except (ValueError, yaml.YAMLError):
        return None
    return CfgNode(values) if isinstance(values, dict) else None


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."
