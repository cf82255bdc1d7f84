"""Differences of two configs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from detectron2.config import CfgNode

from unified_seg_files import YamlError, parse_yaml

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
    # yaml makes lists of tuples.
    values = dict(flatten(load_dump(before.dump()) or CfgNode()))
    later = flatten(load_dump(now.dump()) or CfgNode())
    return [Change(key, values[key], value) for key, value in later if key in values and values[key] != value]


def load_dump(text: str) -> CfgNode | None:
    """Return the config that was dumped as this text; None if it is incomplete, since the run was killed."""
    try:
        values = parse_yaml(text)
    except YamlError:
        return None
    return CfgNode(values) if isinstance(values, dict) else None


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."
