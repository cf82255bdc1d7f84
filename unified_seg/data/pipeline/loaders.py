"""The loaders of training and test images, with `UnifiedMapper`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetFromList, build_detection_test_loader
from detectron2.utils import comm

from unified_seg.config.refused import check_refused
from unified_seg.data.coco.record_instances import list_instances
from unified_seg.data.datasets.alignment import load_with_classes, model_classes
from unified_seg.data.pipeline.mapper import UnifiedMapper
from unified_seg.data.pipeline.skip_unreadable import SkipUnreadable
from unified_seg.data.pipeline.stream.batches import BatchStream, ignore_interrupts
from unified_seg.data.pipeline.stream.samplers import prepare_train_sampler
from unified_seg.data.problems import DataError


def build_train_loader(cfg: CfgNode) -> BatchStream:
    """Return endless batches of DATASETS.TRAIN, without unreadable files, see `SkipUnreadable`.

    Raises:
        ConfigError: a refused value, such as MODEL.LOAD_PROPOSALS, or an invalid sampler, see `prepare_train_sampler`.
        DataError: see `load_training_records`.
    """
    check_refused(cfg)
    records = DatasetFromList(load_training_records(cfg), copy=False)
    plain = UnifiedMapper(cfg, True)
    mapper = SkipUnreadable(plain, records, get_unreadable_list(cfg), cfg.DATASETS.MAX_UNREADABLE)
    make_sampler = prepare_train_sampler(cfg, records)
    if cfg.DATALOADER.NUM_WORKERS:
        load_compiled(partial(plain, records[0]))
    return BatchStream(
        records,
        mapper,
        make_sampler,
        seeds=[comm.shared_random_seed() for _ in range(2)],
        batch_size=cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size(),
        by_aspect_ratio=cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )


def get_unreadable_list(cfg: CfgNode) -> Path:
    """Return the file in which a run lists unreadable files."""
    return Path(cfg.OUTPUT_DIR) / "unreadable.txt"


def build_test_loader(cfg: CfgNode, dataset_name: str) -> Any:
    """Return a loader of each record of a data set once, one a batch; an unreadable file is an error.

    Raises:
        ConfigError: a refused value: with MODEL.LOAD_PROPOSALS Detectron2's loader would unpickle a file.
    """
    check_refused(cfg)
    loader = build_detection_test_loader(cfg, dataset_name, mapper=UnifiedMapper(cfg, False))
    loader.worker_init_fn = ignore_interrupts
    if cfg.DATALOADER.NUM_WORKERS and len(loader.dataset):
        load_compiled(partial(loader.dataset.__getitem__, 0))
    return loader


def load_compiled(map_record: Callable[[], Any]) -> None:
    """Map a record in this process, so that its workers have what is compiled; each would import numba, for seconds.

    The random numbers stay as they were; errors are left to the workers.
    """
    state = np.random.get_state()
    try:
        map_record()
    except DataError:
        pass
    finally:
        np.random.set_state(state)


def load_training_records(cfg: CfgNode) -> list[dict[str, Any]]:
    """Return the records of all training sets.

    With DATALOADER.FILTER_EMPTY_ANNOTATIONS, images without an instance are left out for a model without a semantic
    head.

    Raises:
        DataError: a data set without such a record.
    """
    records: list[dict[str, Any]] = []
    classes = model_classes(cfg)
    for name in cfg.DATASETS.TRAIN:
        loaded, _ = load_with_classes(name, classes)
        if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS and not cfg.MODEL.SEM_SEG_HEAD.NAME:
            loaded = [record for record in loaded if _has_instance(record)]
        if not loaded:
            raise DataError(f"data set {name!r}: no image to train on, or no image with an instance")
        records += loaded
    return records


def _has_instance(record: dict[str, Any]) -> bool:
    """Return whether a record has an instance that is no crowd, or no ground truth of instances."""
    instances = list_instances(record)
    return instances is None or any(not instance.get("iscrowd", 0) for instance in instances)
