"""Detectron2's samplers of training images, for every kind of ground truth."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data.samplers import RandomSubsetTrainingSampler, RepeatFactorTrainingSampler, TrainingSampler
from torch.utils.data import Sampler

from unified_seg.config import ConfigError
from unified_seg.data.coco.record_instances import list_instances
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.data.problems import DataError
from unified_seg.structures.class_table import ClassTable

Record = dict[str, Any]
SAMPLERS = ("TrainingSampler", "RepeatFactorTrainingSampler", "RandomSubsetTrainingSampler")


def prepare_train_sampler(cfg: CfgNode, records: Sequence[Record]) -> Callable[[Sequence[int]], Sampler[int]]:
    """Return a function that makes DATALOADER.SAMPLER_TRAIN of two seeds: that of the order, and that of the subset.

    RepeatFactorTrainingSampler repeats images of rare classes: those of the instances in COCO's annotations or in
    panoptic segments; for a model without a detector, and for images without ground truth of instances, those in the
    semantic labels, which are read once.

    Raises:
        ConfigError: an unknown name, or DATALOADER.RANDOM_SUBSET_RATIO leaves no image.
    """
    loader = cfg.DATALOADER
    if loader.SAMPLER_TRAIN == "TrainingSampler":
        return lambda seeds: TrainingSampler(len(records), seed=seeds[0])
    if loader.SAMPLER_TRAIN == "RandomSubsetTrainingSampler":
        ratio = loader.RANDOM_SUBSET_RATIO
        if not (0 < ratio <= 1 and int(len(records) * ratio)):
            raise ConfigError(
                f"DATALOADER.RANDOM_SUBSET_RATIO: must be in (0, 1] and leave an image of {len(records)}, got {ratio}"
            )
        return lambda seeds: RandomSubsetTrainingSampler(
            len(records), ratio, seed_shuffle=seeds[0], seed_subset=seeds[1]
        )
    if loader.SAMPLER_TRAIN != "RepeatFactorTrainingSampler":
        known = ", ".join(SAMPLERS)
        raise ConfigError(f"DATALOADER.SAMPLER_TRAIN: must be one of {known}, got {loader.SAMPLER_TRAIN!r}")
    table = dataset_classes(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
    has_detector = bool(cfg.MODEL.ROI_HEADS.NAME)
    # In the form of Detectron2's function, to which a class is any key.
    images = [{"annotations": [{"category_id": c} for c in _find_classes(r, has_detector, table)]} for r in records]
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(images, loader.REPEAT_THRESHOLD)
    return lambda seeds: RepeatFactorTrainingSampler(factors, seed=seeds[0])


def _find_classes(record: Record, has_detector: bool, table: ClassTable) -> set[Hashable]:
    """Return the classes of a record, by (kind, id); none if its label is unreadable, as the loader will report."""
    if has_detector and (instances := list_instances(record)) is not None:
        return {("thing", instance["category_id"]) for instance in instances}
    if record.get("sem_seg_file_name"):
        try:
            label = read_semantic_ground_truth(record, table)
        except DataError:
            return set()
        return {("semantic", i) for i in np.unique(label).tolist() if i != table.ignore_label}
    return {("thing" if s["isthing"] else "stuff", s["category_id"]) for s in record.get("segments_info") or ()}
