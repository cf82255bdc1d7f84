"""The loaders: Detectron2's, around the one mapper."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import (
    DatasetCatalog,
    DatasetFromList,
    build_detection_test_loader,
    build_detection_train_loader,
)
from detectron2.data.build import filter_images_with_only_crowd_annotations

from unified_seg.data.mapper import UnifiedMapper
from unified_seg.data.unreadable import SkipUnreadable


def build_train_loader(cfg: CfgNode) -> Iterable[list[dict[str, Any]]]:
    """Endless batches of DATASETS.TRAIN, without files that can't be read, see `SkipUnreadable`."""
    records = DatasetFromList(training_records(cfg), copy=False)
    ledger = Path(cfg.OUTPUT_DIR) / "unreadable.txt"
    mapper = SkipUnreadable(UnifiedMapper(cfg, True), records, ledger, cfg.DATASETS.MAX_UNREADABLE)
    return build_detection_train_loader(cfg, dataset=records, mapper=mapper)


def build_test_loader(cfg: CfgNode, dataset_name: str) -> Any:
    """Each record of a data set once, one a batch; a file that can't be read is an error."""
    return build_detection_test_loader(cfg, dataset_name, mapper=UnifiedMapper(cfg, False))


def training_records(cfg: CfgNode) -> list[dict[str, Any]]:
    """The records of all training sets.

    With DATALOADER.FILTER_EMPTY_ANNOTATIONS, images without an instance are left out where a detector learns alone;
    a semantic head learns from them.
    """
    records: list[dict[str, Any]] = []
    for name in cfg.DATASETS.TRAIN:
        of_set = DatasetCatalog.get(name)
        detector_alone = not cfg.MODEL.SEM_SEG_HEAD.NAME and "annotations" in of_set[0]
        if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS and detector_alone:
            of_set = filter_images_with_only_crowd_annotations(of_set)
        records += of_set
    return records
