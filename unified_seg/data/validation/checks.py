"""What is looked at before training starts, so that nothing is silently wrong after hours of it.

`tools/check_dataset.py` looks at the same, does not stop at the first error, and looks at more.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from tabulate import tabulate
from tqdm import tqdm

from unified_seg.data.coco.masks import annotation_name, check_masks, check_segmentation
from unified_seg.data.coco.panoptic_segments import GroundTruthSegment, read_segments
from unified_seg.data.datasets.classes import dataset_classes
from unified_seg.data.io.image_files import compute_upright_size, read_image, read_image_header
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth, read_semantic_ground_truth
from unified_seg.data.problems import DataError, Problem, Report, stop
from unified_seg.structures.class_table import ClassTable

Record = dict[str, Any]

logger = logging.getLogger(__name__)


def check_datasets(cfg: CfgNode) -> None:
    """Check the training sets for what the model learns from, and the labels of training and test sets.

    How often each class occurs is logged.

    Raises:
        DataError: the first thing wrong, with its file and cause.
    """
    records = {name: DatasetCatalog.get(name) for name in dict.fromkeys([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])}
    check_fields(
        {name: records[name] for name in cfg.DATASETS.TRAIN},
        semantic=bool(cfg.MODEL.SEM_SEG_HEAD.NAME),
        instances=bool(cfg.MODEL.ROI_HEADS.NAME),
        masks=cfg.MODEL.MASK_ON,
    )
    tolerant = TolerantReport(cfg.DATASETS.MAX_UNREADABLE)
    for name in records if cfg.DATASETS.CHECK_LABELS else ():
        table = dataset_classes(MetadataCatalog.get(name))
        trains = name in cfg.DATASETS.TRAIN
        # Without a training image training goes on; without a test image the evaluation after it does not.
        options = {"report": tolerant} if trains else {"decode": True}
        report_classes(name, check_labels(records[name], table, name, **options), table)


class TolerantReport:
    """Logs files that can't be read, up to a limit, since training goes on without them; stops at any other error.

    Args:
        limit: how many files may be unreadable.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.files: set[str] = set()

    def __call__(self, problem: Problem) -> None:
        if problem.kind != "unreadable":
            return stop(problem)
        logger.warning(f"{problem}; training goes on without it")
        self.files.add(problem.file)
        if len(self.files) > self.limit:
            raise DataError(f"{problem}; DATASETS.MAX_UNREADABLE is {self.limit}, this is file {len(self.files)}")
        return None


def has_instances(record: Mapping[str, Any]) -> bool:
    """Whether it is known which instances there are."""
    return "annotations" in record or bool(record.get("pan_seg_file_name"))


def check_fields(
    datasets: Mapping[str, Sequence[Record]], *, semantic: bool, instances: bool, masks: bool = False
) -> None:
    """Check that there is what each part of the model learns from, and that image ids are unique.

    Of several training sets some may lack the ground truth of a part; in one set all images have it or none.

    Args:
        datasets: the records of each training set.
        semantic: the model has a semantic head.
        instances: the model has a detector.
        masks: the detector learns masks.

    Raises:
        DataError: naming the data set, and the record where it is a single one.
    """
    for name, records in datasets.items():
        if not records:
            raise DataError(f"data set {name!r} has no records")
        check_image_ids(records, name)
    every = [(name, record) for name, records in datasets.items() for record in records]
    parts = []
    if semantic:
        parts.append(
            ("semantic head", "semantic label (sem_seg_file_name or pan_seg_file_name)", has_semantic_ground_truth)
        )
    if instances:
        parts.append(("detector", "instances (pan_seg_file_name or annotations)", has_instances))
    for part, what, has in parts:
        lacking = [(name, record) for name, record in every if not has(record)]
        count = Counter(name for name, _ in lacking)
        for name, record in lacking:
            if len(lacking) == len(every) or count[name] < len(datasets[name]):
                raise DataError(f"{record['file_name']}: no {what}, which the {part} learns from")
        if lacking:
            logger.warning(
                f"{', '.join(count)}: no {what}, so the {part} learns nothing of these {len(lacking)} images"
            )
    if instances and masks:
        for _, record in every:
            check_masks(record)


def check_image_ids(records: Sequence[Record], name: str, report: Report = stop) -> None:
    """Report image ids that are in a data set twice."""
    seen: set[Any] = set()
    for record in records:
        if record["image_id"] in seen:
            cause = f"its image id {record['image_id']!r} is in data set {name!r} twice"
            report(Problem("duplicate", record["file_name"], cause))
        seen.add(record["image_id"])


def check_labels(
    records: Sequence[Record],
    table: ClassTable,
    name: str,
    workers: int = 8,
    report: Report = stop,
    decode: bool = False,
) -> np.ndarray:
    """Read every label of the records, with a progress bar.

    Args:
        records: of one data set.
        table: its classes.
        name: of the data set, for the bar.
        workers: threads.
        report: gets what is wrong.
        decode: read the images in full; else their headers.

    Returns:
        (K,) int64: pixels of each semantic id.

    Raises:
        DataError: by the default report, a file that is missing or unreadable, another size than its image's, an id out
            of range, a segment in the PNG but not in the JSON or the other way round, a mask that is none; the file is
            named.
    """
    histogram = np.zeros(table.num_semantic, dtype=np.int64)
    with ThreadPoolExecutor(workers) as pool:
        contents = pool.map(partial(check_record, table=table, report=report, decode=decode), records)
        bar = tqdm(contents, total=len(records), desc=f"checking {name}", unit="img", leave=False, disable=None)
        for content in bar:
            histogram += content.pixels
    return histogram


class Contents(NamedTuple):
    """What the label files of a record hold.

    Attributes:
        pixels: (K,) int64, of each semantic id.
        segments: of the panoptic PNG, where there is one.
    """

    pixels: np.ndarray
    segments: list[GroundTruthSegment]


def check_record(record: Record, table: ClassTable, report: Report = stop, decode: bool = False) -> Contents:
    """Check one record's files against each other.

    Args:
        record: of a data set.
        table: its classes.
        report: gets what is wrong.
        decode: read the image in full; else its header.

    Returns:
        What could be read.
    """
    try:
        _check_image(record, report)
        if decode:
            read_image(record["file_name"])
    except DataError as error:
        report(Problem.from_error(error, record["file_name"]))
    pixels = np.zeros(table.num_semantic, dtype=np.int64)
    segments: list[GroundTruthSegment] = []
    if record.get("sem_seg_file_name"):
        try:
            labels = read_semantic_ground_truth(record, table, report)
            pixels = np.bincount(labels[labels != table.ignore_label], minlength=table.num_semantic)
        except DataError as error:
            report(Problem.from_error(error, record["sem_seg_file_name"]))
    if record.get("pan_seg_file_name"):
        try:
            segments = read_segments(record, table, report)[1]
        except DataError as error:
            report(Problem.from_error(error, record["pan_seg_file_name"]))
        if not record.get("sem_seg_file_name"):
            np.add.at(pixels, [s.cls.semantic_id for s in segments], [s.area for s in segments])
    for index in range(len(record.get("annotations", ()))):
        _check_annotation(record, index, table, report)
    return Contents(pixels, segments)


def _check_image(record: Record, report: Report) -> None:
    file = record["file_name"]
    height, width, orientation = read_image_header(file)
    if orientation != 1:
        report(Problem("orientation", file, f"an EXIF tag says orientation {orientation}; images are turned upright"))
    height, width = compute_upright_size(height, width, orientation)
    if (height, width) != (record["height"], record["width"]):
        cause = f"{height}x{width} pixels, the record says {record['height']}x{record['width']}"
        report(Problem("size", file, cause))


def _check_annotation(record: Record, index: int, table: ClassTable, report: Report) -> None:
    annotation = record["annotations"][index]
    file, where = record["file_name"], annotation_name(annotation, index)
    if not 0 <= annotation["category_id"] < table.num_things:
        cause = f"category_id {annotation['category_id']}, thing ids go from 0 to {table.num_things - 1}"
        report(Problem("class", file, cause, where))
    size = (record["height"], record["width"])
    if annotation.get("segmentation"):
        try:
            check_segmentation(annotation["segmentation"], size, where)
        except DataError as error:
            report(Problem.from_error(error, file, where))
    if "bbox" in annotation:
        left, top, right, bottom = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
        if not (left <= right and top <= bottom):  # NaN too
            report(Problem("box", file, f"a box of {annotation['bbox']}", where))
        # Annotators' boxes lie up to a pixel outside at times.
        elif min(left, top) < -1 or right > size[1] + 1 or bottom > size[0] + 1:
            report(Problem("box-outside", file, f"a box of {annotation['bbox']} in an image of {size} (H, W)", where))


def report_classes(name: str, histogram: np.ndarray, table: ClassTable) -> None:
    """Log the share of pixels of each class; warn of classes that never occur."""
    total = histogram.sum()
    if not total:
        return
    rows = [(c, f"{100 * n / total:.2f}") for c, n in zip(table.semantic_names, histogram)]
    logger.info(f"{name}: labels are consistent; share of pixels in percent\n{tabulate(rows, ['class', '%'])}")
    absent = [c for c, n in zip(table.semantic_names, histogram) if not n]
    if absent:
        logger.warning(f"{name}: no pixel of {', '.join(absent)}")
