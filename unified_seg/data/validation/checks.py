"""Checks before training starts, so that wrong data does not show only after hours of it.

`tools/check_dataset.py` checks the same and more, and does not stop at the first error.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from detectron2.config import CfgNode
from detectron2.structures import BoxMode
from tabulate import tabulate
from tqdm import tqdm

from unified_seg.data.coco.masks import check_masks, check_segmentation, name_annotation
from unified_seg.data.coco.panoptic_segments import GroundTruthSegment, read_segments
from unified_seg.data.datasets.alignment import load_with_classes, model_classes
from unified_seg.data.io.image_files import compute_upright_size, read_image_header
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.io.open_image import get_max_pixels
from unified_seg.data.io.samples import Range
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth, read_semantic_ground_truth
from unified_seg.data.problems import DataError, Problem, Report, raise_error
from unified_seg.data.validation.check_cache import CheckCache, split_into_groups
from unified_seg.data.validation.undefined_scores import describe_default_void, describe_undefined_instances
from unified_seg.data.validation.value_ranges import find_common_range
from unified_seg.structures.class_table import ClassTable
from unified_seg.words import join_some

Record = dict[str, Any]

logger = logging.getLogger(__name__)


def check_datasets(cfg: CfgNode) -> Range | None:
    """Check that the training sets have the ground truth that the model needs, and all labels of all sets.

    Log how often each class occurs, and warn of test sets with undefined scores.

    Returns:
        The range of values of the training images that declare none, for INPUT.DEFAULT_VALUE_RANGE; None if there are
        no such images, or INPUT has a range or percentiles.

    Raises:
        DataError: the first error, with its file and cause.
    """
    classes = model_classes(cfg)
    loaded = {n: load_with_classes(n, classes) for n in dict.fromkeys([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])}
    check_fields(
        {name: loaded[name][0] for name in cfg.DATASETS.TRAIN},
        semantic=bool(cfg.MODEL.SEM_SEG_HEAD.NAME),
        instances=bool(cfg.MODEL.ROI_HEADS.NAME),
        masks=cfg.MODEL.MASK_ON,
    )
    reader = ImageReader.from_config(cfg)
    found = None
    if reader.lacks_range:
        found = find_common_range([record for name in cfg.DATASETS.TRAIN for record in loaded[name][0]])
        reader = reader._replace(default_range=found)
    tolerant = TolerantReport(cfg.DATASETS.MAX_UNREADABLE)
    for name in cfg.DATASETS.TEST:
        if undefined := describe_undefined_instances(loaded[name][0]):
            logger.warning(f"{name}: {undefined}")
    for name, (records, table) in loaded.items() if cfg.DATASETS.CHECK_LABELS else ():
        # Training goes on without an unreadable image, the evaluation after it does not, also of a set that does both.
        is_test = name in cfg.DATASETS.TEST
        options: dict[str, Any] = {"decode": True} if is_test else {"report": tolerant}
        histogram = check_labels(records, table, name, reader=reader, remember=True, **options)
        log_class_shares(name, histogram, table, count_semantic_pixels(records))
    return found


class TolerantReport:
    """A report that logs unreadable files up to a limit, since training goes on without them, and raises other errors.

    Args:
        limit: how many files may be unreadable.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.files: set[str] = set()

    def __call__(self, problem: Problem) -> None:
        if problem.kind != "unreadable":
            raise_error(problem)
            return
        logger.warning(f"{problem}; training goes on without it")
        self.files.add(problem.file)
        if len(self.files) > self.limit:
            raise DataError(f"{problem}; DATASETS.MAX_UNREADABLE is {self.limit}, this is file {len(self.files)}")


def has_instances(record: Mapping[str, Any]) -> bool:
    """Return whether the record has a ground truth of instances, possibly an empty one."""
    return "annotations" in record or bool(record.get("pan_seg_file_name"))


def check_fields(
    datasets: Mapping[str, Sequence[Record]], *, semantic: bool, instances: bool, masks: bool = False
) -> None:
    """Check that each part of the model has a ground truth, and that image ids are unique.

    Of several training sets some may lack the ground truth of a part; within a set all images must have it or all lack
    it.

    Args:
        datasets: the records of each training set.
        semantic: the model has a semantic head.
        instances: the model has a detector.
        masks: the detector predicts masks.

    Raises:
        DataError: with the data set, and the record if it is a single one.
    """
    for name, records in datasets.items():
        if not records:
            raise DataError(f"data set {name!r} has no records")
        check_image_ids(records, name)
    if semantic:
        what = "semantic label (sem_seg_file_name or pan_seg_file_name)"
        _check_ground_truth(datasets, "semantic head", what, has_semantic_ground_truth)
    if instances:
        _check_ground_truth(datasets, "detector", "instances (pan_seg_file_name or annotations)", has_instances)
    if instances and masks:
        for record in (record for records in datasets.values() for record in records):
            check_masks(record)


def _check_ground_truth(
    datasets: Mapping[str, Sequence[Record]], part: str, what: str, is_given: Callable[[Record], bool]
) -> None:
    """Check that all data sets together have a ground truth, and each either for all of its images or for none."""
    missing = [(name, record) for name, records in datasets.items() for record in records if not is_given(record)]
    count = Counter(name for name, _ in missing)
    for name, record in missing:
        if len(missing) == sum(map(len, datasets.values())) or count[name] < len(datasets[name]):
            raise DataError(f"{record['file_name']}: no {what}, which the {part} needs")
    if missing:
        logger.warning(f"{', '.join(count)}: no {what}, so these {len(missing)} images do not train the {part}")


def check_image_ids(records: Sequence[Record], name: str, report: Report = raise_error) -> None:
    """Report image ids that occur twice in a data set."""
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
    report: Report = raise_error,
    decode: bool = False,
    reader: ImageReader | None = None,
    remember: bool = False,
) -> np.ndarray:
    """Read every label of the records, with a progress bar.

    Args:
        records: of one data set.
        table: its classes.
        name: of the data set, for the bar.
        workers: threads.
        report: gets the problems.
        decode: read whole images; else their headers.
        reader: of the model; None: one of color images.
        remember: read only files that are new or have changed since they were found without a problem, see
            `CheckCache`.

    Returns:
        (K,) int64: pixels of each semantic id.

    Raises:
        DataError: by the default report, the first error, with its file: a missing or unreadable file, a label of
            another size than its image, an id out of range, a segment only in the PNG or only in the JSON, an invalid
            mask.
    """
    histogram = np.zeros(table.num_semantic, dtype=np.int64)
    cache = CheckCache((table.classes, table.ignore_label, reader, decode, get_max_pixels())) if remember else None
    reported: list[Problem] = []

    def note(problem: Problem) -> None:
        reported.append(problem)
        report(problem)

    check = partial(check_record, table=table, report=note, decode=decode, reader=reader)
    bar = tqdm(total=len(records), desc=f"checking {name}", unit="img", leave=False, disable=None)
    num_known = 0
    with ThreadPoolExecutor(workers) as pool, bar:
        for group in split_into_groups(records):
            key = cache.compute_key(group) if cache else None
            pixels = cache.find(key, len(histogram)) if cache else None
            if pixels is not None:
                num_known += len(group)
                bar.update(len(group))
            else:
                pixels = np.zeros_like(histogram)
                reported.clear()
                for content in pool.map(check, group):
                    pixels += content.pixels
                    bar.update()
                if cache and not reported:
                    cache.store(key, pixels)
            histogram += pixels
    if num_known:
        logger.info(f"{name}: {num_known} of {len(records)} images have not changed since they were checked")
    return histogram


class Contents(NamedTuple):
    """The contents of the label files of a record.

    Attributes:
        pixels: (K,) int64, of each semantic id.
        segments: of the panoptic PNG, if there is one.
    """

    pixels: np.ndarray
    segments: list[GroundTruthSegment]


def check_record(
    record: Record,
    table: ClassTable,
    report: Report = raise_error,
    decode: bool = False,
    reader: ImageReader | None = None,
) -> Contents:
    """Check the files of a record against each other.

    Args:
        record: of a data set.
        table: its classes.
        report: gets the problems.
        decode: read the whole image; else its header.
        reader: of the model; None: one of color images.

    Returns:
        What could be read.
    """
    try:
        reader = reader or ImageReader()
        fits = _check_image(record, report)
        reader.check(record["file_name"], decode)
        if not fits:
            report = _without_sizes(report)
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


def _without_sizes(report: Report) -> Report:
    """Return a report without the problems that follow from a wrong size of the record."""
    return lambda problem: None if problem.kind in ("size", "mask", "box-outside") else report(problem)


def _check_image(record: Record, report: Report) -> bool:
    """Check the header of the image; return whether it has the size of its record."""
    file = record["file_name"]
    height, width, orientation = read_image_header(file)
    if orientation != 1:
        report(Problem("orientation", file, f"its EXIF tag has orientation {orientation}; images are rotated upright"))
    height, width = compute_upright_size(height, width, orientation)
    if (height, width) != (record["height"], record["width"]):
        cause = f"{height}x{width} pixels, but its record has {record['height']}x{record['width']}"
        report(Problem("size", file, cause))
        return False
    return True


def _check_annotation(record: Record, index: int, table: ClassTable, report: Report) -> None:
    annotation = record["annotations"][index]
    file, where = record["file_name"], name_annotation(annotation, index)
    if not 0 <= annotation["category_id"] < table.num_things:
        cause = f"category_id must be a thing id in [0, {table.num_things - 1}], got {annotation['category_id']}"
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
            report(Problem("box", file, f"invalid box {annotation['bbox']}", where))
        # Annotators' boxes are sometimes up to a pixel outside.
        elif min(left, top) < -1 or right > size[1] + 1 or bottom > size[0] + 1:
            cause = f"the box {annotation['bbox']} is outside of its image of {size} (H, W)"
            report(Problem("box-outside", file, cause, where))


def count_semantic_pixels(records: Sequence[Record]) -> int:
    """Return the pixels of the images that have a semantic ground truth."""
    return sum(record["height"] * record["width"] for record in records if has_semantic_ground_truth(record))


def log_class_shares(name: str, histogram: np.ndarray, table: ClassTable, num_pixels: int) -> None:
    """Log the share of labeled pixels of each class, and of void; warn of classes that never occur, and of void alone.

    Args:
        name: of the data set.
        histogram: (K,) pixels of each semantic id.
        table: the classes.
        num_pixels: of the images with a semantic ground truth.
    """
    total = int(histogram.sum())
    if not num_pixels:
        return
    void_share = 1 - total / num_pixels
    logger.info(f"{name}: {100 * void_share:.2f} % of the pixels are void in the semantic ground truth")
    if not total:
        logger.warning(f"{name}: no pixel has a class: mIoU is undefined")
        return
    rows = [(c, f"{100 * n / total:.2f}") for c, n in zip(table.semantic_names, histogram)]
    logger.info(f"{name}: labels are consistent; share of pixels in percent\n{tabulate(rows, ['class', '%'])}")
    absent = [c for c, n in zip(table.semantic_names, histogram) if not n]
    if warning := describe_default_void(name, void_share, absent):
        logger.warning(f"{name}: {warning}")
    elif absent:
        logger.warning(f"{name}: no pixel of {join_some(absent)}")
