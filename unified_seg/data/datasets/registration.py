"""Registration of data sets in Detectron2's catalogs."""

from collections.abc import Callable
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

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
