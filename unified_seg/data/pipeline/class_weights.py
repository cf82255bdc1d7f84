"""Weights of classes in the loss, from how often they occur in the training images. K = semantic classes."""

import logging
from functools import partial
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from unified_seg.config import ConfigError, replace_values
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth, read_semantic_ground_truth
from unified_seg.data.pipeline.loaders import load_training_records
from unified_seg.data.problems import DataError
from unified_seg.structures.class_table import ClassTable


def set_class_weights(cfg: CfgNode) -> CfgNode:
    """Return the config with MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS for its FREQUENCY_POWER, and log them.

    Labels that can't be read are left out; other checks report them.

    Args:
        cfg: a resolved config; without a power it is returned as it is.

    Raises:
        ConfigError: a negative power, or CLASS_WEIGHTS too.
        DataError: as `load_training_records` does.
    """
    loss = cfg.MODEL.SEM_SEG_HEAD.LOSS
    if not loss.FREQUENCY_POWER or not cfg.MODEL.SEM_SEG_HEAD.NAME:
        return cfg
    if loss.FREQUENCY_POWER < 0 or loss.CLASS_WEIGHTS:
        cause = "CLASS_WEIGHTS is set too" if loss.CLASS_WEIGHTS else f"must be 0 or more, got {loss.FREQUENCY_POWER}"
        raise ConfigError(f"MODEL.SEM_SEG_HEAD.LOSS.FREQUENCY_POWER: {cause}")
    table = dataset_classes(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
    records = [record for record in load_training_records(cfg) if has_semantic_ground_truth(record)]
    count = partial(_count_pixels, table)
    counts = map_in_parallel(count, records, max(cfg.DATALOADER.NUM_WORKERS, 1), "frequencies of classes")
    weights = weigh_by_frequency(np.array(counts).reshape(-1, table.num_semantic), loss.FREQUENCY_POWER)
    described = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(table.semantic_names, weights))
    logging.getLogger(__name__).info(f"weights of the classes in the loss: {described}")
    return replace_values(cfg, {"MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS": weights})


def weigh_by_frequency(counts: np.ndarray, power: float) -> list[float]:
    """Return (median frequency / frequency) ** power of each class, which balances the classes in a loss.

    The frequency of a class is its share of the pixels of those images in which it occurs. Source: Eigen and Fergus,
    Predicting Depth, Surface Normals and Semantic Labels with a Common Multi-Scale Convolutional Architecture (2015),
    section 6.3.2.

    Args:
        counts: (images, K) pixels.
        power: 1 for the paper's weights, less for weights closer to 1.

    Returns:
        (K,); 1 for a class that never occurs.
    """
    pixels_with_class = ((counts > 0) * counts.sum(1, keepdims=True)).sum(0)
    occurs = pixels_with_class > 0
    if not occurs.any():
        return [1.0] * counts.shape[1]
    frequencies = counts.sum(0)[occurs] / pixels_with_class[occurs]
    weights = np.ones(counts.shape[1])
    weights[occurs] = (np.median(frequencies) / frequencies) ** power
    return [float(weight) for weight in weights]


def _count_pixels(table: ClassTable, record: dict[str, Any]) -> np.ndarray:
    """Return (K,) int64 pixels of each class; zeros for a label that can't be read."""
    try:
        labels = read_semantic_ground_truth(record, table, report=_ignore)
    except DataError:
        return np.zeros(table.num_semantic, dtype=np.int64)
    return np.bincount(labels[labels < table.num_semantic].ravel(), minlength=table.num_semantic)


def _ignore(*_: Any) -> None:
    """Leave a problem to the checks."""
