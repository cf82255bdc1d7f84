"""What is looked at before training starts, so that nothing is silently wrong after hours of it."""

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from tabulate import tabulate
from tqdm import tqdm

from unified_seg.data.class_counts import class_table_of
from unified_seg.data.reading import DataError, image_size, read_label
from unified_seg.data.segments import true_segments
from unified_seg.functional.class_table import ClassTable

Record = dict[str, Any]


def check_datasets(cfg: CfgNode) -> None:
    """Check the training sets for what the model learns from, and the labels of training and test sets.

    How often each class occurs is logged.

    Raises:
        DataError: the first thing wrong, with its file and cause.
    """
    for name in dict.fromkeys([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]):
        records = DatasetCatalog.get(name)
        table = class_table_of(MetadataCatalog.get(name))
        if name in cfg.DATASETS.TRAIN:
            check_fields(
                records, name, semantic=bool(cfg.MODEL.SEM_SEG_HEAD.NAME), instances=bool(cfg.MODEL.ROI_HEADS.NAME)
            )
        if cfg.DATASETS.CHECK_LABELS:
            report(name, check_labels(records, table, name), table)


def check_fields(records: list[Record], name: str, *, semantic: bool, instances: bool) -> None:
    """Check that each record has what the parts of the model learn from, and that ids are unique.

    Raises:
        DataError: naming the record.
    """
    if not records:
        raise DataError(f"data set {name!r} has no records")
    seen: set[Any] = set()
    for record in records:
        file = record["file_name"]
        if record["image_id"] in seen:
            raise DataError(f"{file}: its image id {record['image_id']!r} is in data set {name!r} twice")
        seen.add(record["image_id"])
        if semantic and "sem_seg_file_name" not in record:
            raise DataError(f"{file}: no semantic label (sem_seg_file_name), which the semantic head learns from")
        if instances and "pan_seg_file_name" not in record and "annotations" not in record:
            raise DataError(f"{file}: no instances (pan_seg_file_name or annotations), which the detector learns from")


def check_labels(records: list[Record], table: ClassTable, name: str, workers: int = 8) -> np.ndarray:
    """Read every label of the records, with a progress bar.

    Args:
        records: of one data set.
        table: its classes.
        name: of the data set, for the bar.
        workers: threads.

    Returns:
        (K,) int64: pixels of each semantic id.

    Raises:
        DataError: a file that is missing or unreadable, another size than its image's, an id out of range, a segment
            in the PNG but not in the JSON or the other way round; the file is named.
    """
    histogram = np.zeros(table.num_semantic, dtype=np.int64)
    with ThreadPoolExecutor(workers) as pool:
        counts = pool.map(partial(check_record, table=table), records)
        for count in tqdm(counts, total=len(records), desc=f"checking {name}", unit="img", leave=False):
            histogram += count
    return histogram


def check_record(record: Record, table: ClassTable) -> np.ndarray:
    """Check one record's files against each other; returns and raises as `check_labels`."""
    size = image_size(record["file_name"])
    if size != (record["height"], record["width"]):
        raise DataError(
            f"{record['file_name']}: {size[0]}x{size[1]} pixels, the record says {record['height']}x{record['width']}"
        )
    histogram = np.zeros(table.num_semantic, dtype=np.int64)
    if "sem_seg_file_name" in record:
        file = record["sem_seg_file_name"]
        label = read_label(file)
        _check_same_size(label, size, file)
        valid = label[label != table.ignore_label]
        outside = valid[(valid < 0) | (valid >= table.num_semantic)]
        if outside.size:
            raise DataError(
                f"{file}: label id {outside[0]} is neither a class (0 to {table.num_semantic - 1}) nor the ignore "
                f"label {table.ignore_label}; {outside.size} pixels have such ids"
            )
        histogram += np.bincount(valid, minlength=table.num_semantic)
    if "pan_seg_file_name" in record:
        true_segments(record, table)
    for annotation in record.get("annotations", ()):
        if not 0 <= annotation["category_id"] < table.num_things:
            raise DataError(
                f"{record['file_name']}: an annotation has category_id {annotation['category_id']}, "
                f"thing ids go from 0 to {table.num_things - 1}"
            )
    return histogram


def _check_same_size(label: np.ndarray, size: tuple[int, int], file: str) -> None:
    if label.shape != size:
        raise DataError(
            f"{file}: {label.shape[0]}x{label.shape[1]} pixels, its image has {size[0]}x{size[1]} (height x width)"
        )


def report(name: str, histogram: np.ndarray, table: ClassTable) -> None:
    """Log the share of pixels of each class; warn of classes that never occur."""
    logger = logging.getLogger(__name__)
    total = histogram.sum()
    if not total:
        return
    rows = [(c, f"{100 * n / total:.2f}") for c, n in zip(table.semantic_names, histogram)]
    logger.info(f"{name}: labels are consistent; share of pixels in percent\n{tabulate(rows, ['class', '%'])}")
    absent = [c for c, n in zip(table.semantic_names, histogram) if not n]
    if absent:
        logger.warning(f"{name}: no pixel of {', '.join(absent)}")
