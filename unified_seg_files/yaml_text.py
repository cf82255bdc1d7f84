"""YAML of plain values: no tags of Python, and no text of a few lines that means more than memory holds."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

# Written in C, where PyYAML has it: ten times as fast.
YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH = 50
# Values and keys, those behind each alias (*name) included: 50,000 classes with name, id and color have 550,000.
MAX_VALUES = 1_000_000
# PyYAML reads 1:59:59 as a number to the base 60, in a time that grows with the square of its length.
LONG_NUMBER = re.compile(r"[-+]?\d[\d_]*(:\d+){30,}.*", re.DOTALL)


class YamlError(ValueError):
    """A text that is not YAML of plain values; the message, on one line, says where."""


def parse_yaml(text: str) -> Any:
    """Return the values of a YAML text; JSON is YAML too.

    Raises:
        YamlError: not YAML, tags other than YAML's own, more than MAX_DEPTH levels or MAX_VALUES values, an alias in
            what it stands for.
    """
    try:
        _check_size(yaml.parse(text, Loader=YamlLoader))
        return yaml.load(text, Loader=YamlLoader)  # noqa: S506 (a safe loader, or its form in C)
    except YamlError:
        raise
    # PyYAML's constructors raise others too, such as KeyError for `!!bool x`.
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise YamlError(" ".join(str(error).split()) or type(error).__name__) from None


class _Keys:
    """The keys of a mapping so far: PyYAML takes the last of two values of one key, and drops the other."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, bool]] = set()
        self._is_key = True

    def add_node(self, event: yaml.NodeEvent) -> None:
        if self._is_key and isinstance(event, yaml.ScalarEvent) and event.value != "<<":
            key = (event.value, event.implicit[0])
            if key in self._seen:
                raise YamlError(f"{_place(event)}: the key {event.value!r:.80} is there twice")
            self._seen.add(key)
        self._is_key = not self._is_key


def _check_size(events: Iterator[Any]) -> None:
    """Count the values of a text without building them."""
    # The anchor of each open node, the number of values before it, and the keys of a mapping.
    open_nodes: list[tuple[str | None, int, _Keys | None]] = []
    sizes: dict[str, int] = {}
    total = 0
    for event in events:
        if isinstance(event, yaml.NodeEvent) and open_nodes and open_nodes[-1][2] is not None:
            open_nodes[-1][2].add_node(event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, *_ in open_nodes}:
                raise YamlError(f"{_place(event)}: *{event.anchor} is a part of what it stands for")
            total += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            if event.implicit[0] and LONG_NUMBER.match(event.value[:200]):
                raise YamlError(f"{_place(event)}: a number of {len(event.value)} characters")
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total, _Keys() if isinstance(event, yaml.MappingStartEvent) else None))
            total += 1
            if len(open_nodes) > MAX_DEPTH:
                raise YamlError(f"{_place(event)}: more than {MAX_DEPTH} levels of nesting")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before, _ = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        if total > MAX_VALUES:
            raise YamlError(f"{_place(event)}: more than {MAX_VALUES:,} values, those behind aliases (*name) included")


def _place(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1}" if event.start_mark else "somewhere"
