"""How many classes the heads have, and which: asked of the data set, never typed by hand."""

import difflib
import logging
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from unified_seg.config import ConfigError
from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.custom import register_custom
from unified_seg.structures.class_table import ClassTable


def dataset_classes(metadata: Any) -> ClassTable:
    """The class table of a data set's metadata; an error names the data set."""
    try:
        return ClassTable.from_metadata(metadata)
    except ValueError as error:
        raise ConfigError(f"data set {getattr(metadata, 'name', '?')!r}: {error}") from None


def resolve_dataset_classes(cfg: CfgNode) -> CfgNode:
    """A copy of `cfg` whose heads have the classes, and the ignore label, of the training set.

    The data sets of DATASETS.CUSTOM are registered on the way.

    Raises:
        ConfigError: no training set, an unknown one, or data sets whose classes differ; or an entry of DATASETS.CUSTOM
            that can't be used.
        DataError: a file of classes that can't be.
    """
    register_custom(cfg.DATASETS.CUSTOM, get_datasets_root())
    names = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
    if not cfg.DATASETS.TRAIN:
        raise ConfigError("DATASETS.TRAIN is empty: the classes of a model come from its training set")
    for name in names:
        if name not in DatasetCatalog.list():
            close = difflib.get_close_matches(name, DatasetCatalog.list(), n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "datasets/README.md lists them"
            raise ConfigError(f"there is no data set {name!r}, in DATASETS.CUSTOM neither; {hint}")
    tables = {name: dataset_classes(MetadataCatalog.get(name)) for name in dict.fromkeys(names)}
    first, table = next(iter(tables.items()))
    for name, other in tables.items():
        if other.semantic_names != table.semantic_names or other.things != table.things:
            raise ConfigError(f"the data sets {first!r} and {name!r} do not have the same classes")

    cfg = cfg.clone()
    cfg.defrost()
    _set(cfg.MODEL.SEM_SEG_HEAD, "NUM_CLASSES", table.num_semantic)
    _set(cfg.MODEL.SEM_SEG_HEAD, "CLASS_NAMES", table.semantic_names)
    _set(cfg.MODEL.SEM_SEG_HEAD, "IGNORE_VALUE", table.ignore_label)
    _set(cfg.MODEL.ROI_HEADS, "NUM_CLASSES", table.num_things)
    cfg.freeze()
    return cfg


def _set(node: CfgNode, key: str, value: int | list[str]) -> None:
    if node[key] != value:
        logging.getLogger(__name__).debug(f"{key} {node[key]} -> {value}, from the data set")
        node[key] = value
