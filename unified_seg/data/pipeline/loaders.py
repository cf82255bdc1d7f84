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

from unified_seg.config import ConfigError
from unified_seg.data.pipeline.mapper import UnifiedMapper
from unified_seg.data.pipeline.skip_unreadable import SkipUnreadable
from unified_seg.data.problems import DataError


def build_train_loader(cfg: CfgNode) -> Iterable[list[dict[str, Any]]]:
    """Endless batches of DATASETS.TRAIN, without files that can't be read, see `SkipUnreadable`.

    Raises:
        ConfigError: proposals of files, a sampler that the data sets are nothing for.
        DataError: as `load_training_records`.
    """
    if cfg.MODEL.LOAD_PROPOSALS:
        raise ConfigError("MODEL.LOAD_PROPOSALS: proposals of files are not read")
    made = load_training_records(cfg)
    if cfg.DATALOADER.SAMPLER_TRAIN == "RepeatFactorTrainingSampler" and any("annotations" not in r for r in made):
        raise ConfigError(
            "DATALOADER.SAMPLER_TRAIN RepeatFactorTrainingSampler counts annotations, of which some images have none: "
            "their instances are in panoptic PNGs or unknown"
        )
    records = DatasetFromList(made, copy=False)
    mapper = SkipUnreadable(UnifiedMapper(cfg, True), records, get_unreadable_list(cfg), cfg.DATASETS.MAX_UNREADABLE)
    return build_detection_train_loader(cfg, dataset=records, mapper=mapper)


def get_unreadable_list(cfg: CfgNode) -> Path:
    """Where a run lists the files that it can't read."""
    return Path(cfg.OUTPUT_DIR) / "unreadable.txt"


def build_test_loader(cfg: CfgNode, dataset_name: str) -> Any:
    """Each record of a data set once, one a batch; a file that can't be read is an error."""
    return build_detection_test_loader(cfg, dataset_name, mapper=UnifiedMapper(cfg, False))


def load_training_records(cfg: CfgNode) -> list[dict[str, Any]]:
    """The records of all training sets.

    With DATALOADER.FILTER_EMPTY_ANNOTATIONS, images without an instance are left out where a detector learns alone;
    a semantic head learns from them.

    Raises:
        DataError: a data set without a record to learn from.
    """
    records: list[dict[str, Any]] = []
    for name in cfg.DATASETS.TRAIN:
        of_set = DatasetCatalog.get(name)
        if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS and not cfg.MODEL.SEM_SEG_HEAD.NAME:
            of_set = [record for record in of_set if "annotations" not in record or _has_instance(record)]
        if not of_set:
            raise DataError(f"data set {name!r}: there is no image to learn from, or none with an instance")
        records += of_set
    return records


def _has_instance(record: dict[str, Any]) -> bool:
    return any(not annotation.get("iscrowd", 0) for annotation in record["annotations"])
