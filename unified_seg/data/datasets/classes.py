"""The classes of registered data sets."""

import difflib
from collections.abc import Iterable
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from unified_seg.cli import format_hint
from unified_seg.config import ConfigError
from unified_seg.structures.class_table import ClassTable


def dataset_classes(metadata: Any) -> ClassTable:
    """Return the class table of a data set's metadata; raises ConfigError, with the name of the data set."""
    try:
        return ClassTable.from_metadata(metadata)
    except ValueError as error:
        raise ConfigError(f"data set {getattr(metadata, 'name', '?')!r}: {error}") from None


def common_classes(names_by_key: dict[str, Iterable[str]]) -> ClassTable:
    """Return the class table that all data sets have.

    Args:
        names_by_key: names of data sets by the config key that has them; one of them has a name at least.

    Raises:
        ConfigError: an unknown data set, or two that differ in their classes.
    """
    tables: dict[str, ClassTable] = {}
    for key, names in names_by_key.items():
        for name in names:
            _check_registered(key, name)
            if name not in tables:
                tables[name] = dataset_classes(MetadataCatalog.get(name))
    first, table = next(iter(tables.items()))
    for name, other in tables.items():
        if other.semantic_names != table.semantic_names or other.things != table.things:
            raise ConfigError(f"{', '.join(names_by_key)}: the data sets {first!r} and {name!r} have different classes")
    return table


def _check_registered(key: str, name: str) -> None:
    known = DatasetCatalog.list()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(map(format_hint, close))}?" if close else "datasets/README.md lists them"
        raise ConfigError(f"{key}: unknown data set {name!r} (not registered, not in DATASETS.CUSTOM); {hint}")
