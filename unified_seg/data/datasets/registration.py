"""Registration of data sets in Detectron2's catalogs, and the classes of those that are registered."""

import difflib
from collections.abc import Callable
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from unified_seg.config import ConfigError
from unified_seg.hints import format_hint
from unified_seg.structures.class_table import ClassTable


def register_dataset(name: str, load: Callable[[], list[dict[str, Any]]], table: ClassTable, **metadata: Any) -> None:
    """Register a data set.

    Args:
        name: a new name.
        load: returns the records; called when the data set is first used.
        table: the classes, from which the metadata are made.
        metadata: further metadata, such as panoptic_json.

    Raises:
        ValueError: classes that metadata can't describe, see `ClassTable.to_metadata`.
    """
    classes = table.to_metadata()
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(evaluator_type="unified_seg", **classes, **metadata)


def dataset_classes(metadata: Any) -> ClassTable:
    """Return the class table of a data set's metadata; raises ConfigError, with the name of the data set."""
    try:
        return ClassTable.from_metadata(metadata)
    except ValueError as error:
        raise ConfigError(f"data set {getattr(metadata, 'name', '?')!r}: {error}") from None


def check_registered(key: str, name: str) -> None:
    """Raise ConfigError, with a hint, if no data set has the name that a config key names."""
    known = DatasetCatalog.list()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(map(format_hint, close))}?" if close else "datasets/README.md lists them"
        raise ConfigError(f"{key}: unknown data set {name!r} (not registered, not in DATASETS.CUSTOM); {hint}")
