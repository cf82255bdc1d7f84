"""The loaders: Detectron2's, around the one mapper."""

from collections.abc import Iterable
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, build_detection_train_loader

from unified_seg.data.mapper import UnifiedMapper


def build_train_loader(cfg: CfgNode) -> Iterable[list[dict[str, Any]]]:
    """Endless batches of DATASETS.TRAIN."""
    return build_detection_train_loader(cfg, mapper=UnifiedMapper(cfg, True))


def build_test_loader(cfg: CfgNode, dataset_name: str) -> Any:
    """Each record of a data set once, one a batch."""
    return build_detection_test_loader(cfg, dataset_name, mapper=UnifiedMapper(cfg, False))
