"""Configs as text, and differences of two configs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from detectron2.config import CfgNode

from unified_seg_files.yaml_text import YamlError, parse_yaml

# Written in C, where PyYAML has it.
YamlDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
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
    """Return the keys whose values differ, in alphabetical order; keys of only one don't count."""
    values = {key: _to_plain(value) for key, value in flatten(before)}
    later = sorted(((key, _to_plain(value)) for key, value in flatten(now)), key=lambda item: item[0])
    return [Change(key, values[key], value) for key, value in later if key in values and values[key] != value]


def dump_config(cfg: CfgNode) -> str:
    """Return the text of `cfg.dump()` without aliases (`*id001`), in a fraction of its time."""
    return yaml.dump(_to_plain(cfg), Dumper=YamlDumper)


def load_dump(text: str) -> CfgNode | None:
    """Return the config that was dumped as this text; None if it is incomplete, since the run was killed."""
    try:
        values = parse_yaml(text)
    except YamlError:
        return None
    return CfgNode(values) if isinstance(values, dict) else None


def _to_plain(value: Any) -> Any:
    """Return a value as it is after it was dumped and loaded: with dicts, and with lists in place of tuples."""
    if isinstance(value, dict):
        return {key: _to_plain(inner) for key, inner in value.items()}
    return list(map(_to_plain, value)) if isinstance(value, (list, tuple)) else value


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."
