"""Registration of data sets in Detectron2's catalogs, and the classes of those that are registered."""

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from msgspec import Struct, to_builtins

from unified_seg.config import ConfigError
from unified_seg.data.io.typed_records import convert_record
from unified_seg.hints import format_hint
from unified_seg.structures.class_table import ClassTable


class ClassMetadata(Struct, frozen=True, omit_defaults=True):
    """The metadata of a data set that `ClassTable.from_metadata` reads."""

    stuff_classes: list[str] | None = None
    stuff_colors: list[tuple[int, int, int]] | None = None
    stuff_dataset_id_to_contiguous_id: dict[int, int] | None = None
    thing_classes: list[str] | None = None
    thing_colors: list[tuple[int, int, int]] | None = None
    thing_dataset_id_to_contiguous_id: dict[int, int] | None = None
    class_categories: dict[str, str] | None = None
    ignore_label: int | None = None


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


def describe_classes(metadata: Any) -> dict[str, Any]:
    """Return the classes of a data set as plain values, its metadata, which `register_classes` takes."""
    keys = ClassMetadata.__struct_fields__
    return {key: _to_plain(getattr(metadata, key)) for key in keys if getattr(metadata, key, None) is not None}


def register_classes(values: Mapping[str, Any]) -> str:
    """Register a data set without records that has the classes of `describe_classes`, perhaps from JSON.

    Returns:
        Its name, which depends on the classes alone: the same ones are registered once.

    Raises:
        RecordError: a value of another type.
        ConfigError: classes that contradict each other.
    """
    classes = to_builtins(convert_record(dict(values), ClassMetadata, str_keys=True))
    digest = hashlib.sha256(json.dumps(classes, sort_keys=True).encode()).hexdigest()
    name = f"classes_{digest[:12]}"
    if name not in DatasetCatalog.list():
        dataset_classes(SimpleNamespace(name=name, **classes))
        DatasetCatalog.register(name, list)
        MetadataCatalog.get(name).set(evaluator_type="unified_seg", **classes)
    return name


def check_registered(key: str, name: str) -> None:
    """Raise ConfigError, with a hint, if no data set has the name that a config key names."""
    known = DatasetCatalog.list()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(map(format_hint, close))}?" if close else "datasets/README.md lists them"
        raise ConfigError(f"{key}: unknown data set {name!r} (not registered, not in DATASETS.CUSTOM); {hint}")


def _to_plain(value: Any) -> Any:
    """Return a value of metadata, which may hold tuples and numbers of numpy, as lists and Python's numbers."""
    if isinstance(value, Mapping):
        return {_to_plain(key): _to_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_to_plain(inner) for inner in value]
    return value if isinstance(value, str) else int(value)
