"""Data sets with the classes of a model: the same by name and kind, whatever their ids, order and colors.

Semantic ids and thing ids count the classes of a data set, so those of a data set that lists its classes in another
order, or only some of them, differ from those of the model, which are those of its training set.
"""

import difflib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.logger import log_first_n

from unified_seg.config import ConfigError
from unified_seg.data.datasets.registration import check_registered, dataset_classes
from unified_seg.structures.class_table import ClassTable, SegmentClass
from unified_seg.words import join_some

Record = dict[str, Any]

# The records that are shared, by data set; None: outside of `share_records`.
_shared: dict[str, list[Record]] | None = None


@contextmanager
def share_records() -> Iterator[None]:
    """Build the records of each data set once inside: what starts a training reads them several times.

    Nobody may change records that were read inside.
    """
    global _shared
    outer = _shared
    _shared = {} if outer is None else outer
    try:
        yield
    finally:
        _shared = outer


def _get_records(name: str) -> list[Record]:
    if _shared is None:
        return DatasetCatalog.get(name)
    if name not in _shared:
        _shared[name] = DatasetCatalog.get(name)
    return _shared[name]


def count_records(name: str) -> int:
    """Return the number of records of a registered data set."""
    return len(_get_records(name))


def model_classes(cfg: CfgNode) -> ClassTable:
    """Return the classes of a model, which are those of its first training set."""
    return dataset_classes(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))


def load_for_model(name: str, cfg: CfgNode) -> tuple[list[Record], ClassTable]:
    """Return the records and class table of a data set for the model of a config, see `load_with_classes`.

    Without a training set, the model has the classes of the data set.
    """
    classes = model_classes(cfg) if cfg.DATASETS.TRAIN else dataset_classes(MetadataCatalog.get(name))
    return load_with_classes(name, classes)


def load_with_classes(name: str, classes: ClassTable) -> tuple[list[Record], ClassTable]:
    """Return the records of a registered data set with the semantic ids and thing ids of other classes.

    Args:
        name: of the data set.
        classes: those of the model; `find_class_difference` finds none to those of the data set.

    Returns:
        The records, and the class table: `classes` with the dataset ids of the data set.

    Raises:
        ConfigError: the data set has other classes.
    """
    own = dataset_classes(MetadataCatalog.get(name))
    if difference := find_class_difference(own, classes):
        raise ConfigError(f"the data set {name!r} and the model have different classes: {difference}")
    records = _get_records(name)
    if have_same_ids(own, classes):
        return records, own
    aligned = _take_dataset_ids(classes, own)
    things = {c.thing_id: other.thing_id for c, other in _pair(own, aligned) if c.is_thing}
    semantic = {c.semantic_id: other.semantic_id for c, other in _pair(own, aligned)}
    semantic[own.ignore_label] = aligned.ignore_label
    return [_renumber(record, things, semantic) for record in records], aligned


def common_classes(train: Sequence[str], test: Sequence[str]) -> ClassTable:
    """Return the classes of a model, those of the first training set.

    The other data sets have the same by name and kind, or some of them. Of a training set this is logged: its images
    count as free of the classes that it lacks.

    Args:
        train: names of DATASETS.TRAIN, at least one.
        test: names of DATASETS.TEST.

    Raises:
        ConfigError: an unknown data set, or one with other classes.
    """
    for key, names in (("DATASETS.TRAIN", train), ("DATASETS.TEST", test)):
        for name in names:
            check_registered(key, name)
    classes = dataset_classes(MetadataCatalog.get(train[0]))
    for name in dict.fromkeys([*train, *test]):
        own = dataset_classes(MetadataCatalog.get(name))
        if difference := find_class_difference(own, classes):
            raise ConfigError(
                f"DATASETS.TRAIN, DATASETS.TEST: the data sets {train[0]!r} and {name!r} have different classes: in "
                f"{name!r} {difference}; one file of CLASSES for both makes them the same"
            )
        lacking = {c.name: c for c in classes.classes if c.name not in {other.name for other in own.classes}}
        if lacking and name in train:
            note = f"training set {name!r} does not have all classes of {train[0]!r}: {join_some(lacking)} are missing"
            log_first_n(logging.WARNING, note, name=__name__, key="message")
    return classes


def have_same_ids(one: ClassTable, other: ClassTable) -> bool:
    """Return whether the semantic ids and thing ids of two tables mean the same classes."""
    first, second = ([(c.name, c.semantic_id, c.thing_id) for c in table.classes] for table in (one, other))
    return first == second


def find_class_difference(own: ClassTable, classes: ClassTable) -> str:
    """Return what keeps the classes of a data set from being some of others, by name and kind; "" for nothing."""
    if have_same_ids(own, classes):
        return ""
    for table in (own, classes):
        if len({c.name for c in table.classes}) < len(table.classes) or len(table.classes) != table.num_semantic:
            return "several classes share a name or a semantic id"
    known = {c.name: c for c in classes.classes}
    for cls in own.classes:
        if cls.name not in known:
            close = difflib.get_close_matches(cls.name, known, n=1)
            return f"{cls.name!r} is not among {join_some(known)}" + (f"; did you mean {close[0]!r}?" if close else "")
        if cls.is_thing != known[cls.name].is_thing:
            kind, other = ("a thing", "stuff") if cls.is_thing else ("stuff", "a thing")
            return f"{cls.name!r} is {kind}, but {other} in the other"
    return ""


def _pair(own: ClassTable, aligned: ClassTable) -> list[tuple[SegmentClass, SegmentClass]]:
    """Return each class of a data set with that of the other table."""
    by_name = {c.name: c for c in aligned.classes}
    return [(c, by_name[c.name]) for c in own.classes]


def _take_dataset_ids(classes: ClassTable, own: ClassTable) -> ClassTable:
    """Return the classes with the dataset ids of a data set; those that it lacks get ids that it does not use."""
    given = {c.name: c.dataset_id for c in own.classes}
    used = set(given.values())
    taken = []
    for cls in classes.classes:
        dataset_id = given.get(cls.name)
        if dataset_id is None:
            dataset_id = max(used) + 1 if cls.dataset_id in used else cls.dataset_id
            used.add(dataset_id)
        taken.append(replace(cls, dataset_id=dataset_id))
    return ClassTable(taken, classes.ignore_label)


def _renumber(record: Record, things: Mapping[Any, Any], semantic: Mapping[int, int]) -> Record:
    """Return a record with other thing ids and semantic ids; an id without a class becomes -1, which is refused."""
    result = dict(record)
    if "annotations" in record:
        result["annotations"] = [{**a, "category_id": things.get(a["category_id"], -1)} for a in record["annotations"]]
    if "segments_info" in record:
        result["segments_info"] = [
            {**s, "category_id": (things if s["isthing"] else semantic).get(s["category_id"], -1)}
            for s in record["segments_info"]
        ]
    if record.get("sem_seg_file_name"):
        # Without sem_seg_values the pixels are semantic ids.
        values = record.get("sem_seg_values", {semantic_id: semantic_id for semantic_id in semantic})
        result["sem_seg_values"] = {value: semantic[semantic_id] for value, semantic_id in values.items()}
    return result
