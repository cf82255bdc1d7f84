"""Surveys of data sets: all of their problems and their statistics, from reading every file once.

(H, W) = an image.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from pycocotools import mask as mask_util

from unified_seg.data.coco.masks import convert_to_rle
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.image_files import read_used_share
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.io.label_files import check_size, read_label
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.io.semantic_labels import find_semantic_file, has_semantic_ground_truth
from unified_seg.data.problems import DataError, Problem, Report
from unified_seg.data.validation.checks import Contents, check_image_ids, check_record, has_instances
from unified_seg.data.validation.dataset_statistics import (
    ImageContents,
    InstanceMeasures,
    Statistics,
    compute_statistics,
)
from unified_seg.data.validation.undefined_scores import describe_default_void
from unified_seg.data.validation.value_ranges import find_common_range
from unified_seg.structures.class_table import ClassTable

Record = dict[str, Any]

# The keys of a record that name a file.
FILES = ("file_name", "sem_seg_file_name", "pan_seg_file_name", "instance_ids_file_name")
# Images that use less of their range of values are reported.
LEAST_USED_SHARE = 0.1
# The keys of every record.
REQUIRED = ("file_name", "image_id", "height", "width")


class Survey(NamedTuple):
    """The problems and statistics of a data set.

    Attributes:
        name: of the data set.
        records: the usable ones.
        problems: first those of JSON files and lists, then those of records, then those of the whole, each in order.
        statistics: of the records.
    """

    name: str
    records: list[Record]
    problems: list[Problem]
    statistics: Statistics

    @property
    def num_errors(self) -> int:
        return sum(problem.is_error for problem in self.problems)

    @property
    def num_warnings(self) -> int:
        return len(self.problems) - self.num_errors


class _Reading(NamedTuple):
    """The results of a record; `digest` is that of the image's pixels, b"" if it could not be read."""

    problems: list[Problem]
    digest: bytes
    contents: ImageContents


def survey_datasets(names: Sequence[str], workers: int, reader: ImageReader | None = None) -> list[Survey]:
    """Read all files of registered data sets, with a progress bar; the result does not depend on the workers.

    Args:
        names: of the data sets, each once.
        workers: processes; with 0 or 1 everything runs in this process.
        reader: of the model, which may have a range of values; None: one of color images.

    Returns:
        A survey of each. Of two images with the same pixels, in one data set or in two, the later one has a problem.

    Raises:
        DataError: a process was killed.
        ConfigError: a data set with invalid metadata.
    """
    tables = [dataset_classes(MetadataCatalog.get(name)) for name in names]
    loaded = [_load(name) for name in names]
    items = [(index, record) for index, (records, _) in enumerate(loaded) for record in records]
    reader = reader or ImageReader()
    if reader.value_range is None and reader.default_range is None:
        reader = reader._replace(default_range=find_common_range([record for _, record in items]))
    readings = iter(map_in_parallel(partial(_read, tables, reader), items, max(workers, 1), "checking data sets"))
    first_of: dict[bytes, tuple[str, str]] = {}
    surveys = []
    for name, table, (records, problems) in zip(names, tables, loaded):
        _check_unique(records, name, problems.append)
        own = [next(readings) for _ in records]
        problems += [problem for reading in own for problem in reading.problems]
        for record, reading in zip(records, own):
            _check_seen(name, record["file_name"], reading.digest, first_of, problems.append)
        statistics = compute_statistics([reading.contents for reading in own], table)
        # Classes that do not occur may be those of what is wrong.
        if records and not any(problem.is_error for problem in problems):
            _check_classes(name, statistics, problems.append)
        surveys.append(Survey(name, records, problems, statistics))
    return surveys


def convert_surveys_to_json(surveys: Sequence[Survey]) -> dict[str, Any]:
    """Return surveys as objects for a JSON file."""
    return {
        "errors": sum(survey.num_errors for survey in surveys),
        "warnings": sum(survey.num_warnings for survey in surveys),
        "datasets": [
            {"name": survey.name, "images": len(survey.records), "statistics": survey.statistics.to_json()}
            for survey in surveys
        ],
        "problems": [
            {
                "dataset": survey.name,
                **problem._asdict(),
                "severity": "error" if problem.is_error else "warning",
                "fix": problem.fix,
            }
            for survey in surveys
            for problem in survey.problems
        ],
    }


def list_record_files(record: Mapping[str, Any]) -> list[str]:
    """Return the files of a record."""
    return [record[key] for key in FILES if record.get(key)]


def _load(name: str) -> tuple[list[Record], list[Problem]]:
    """Return the usable records of a data set, and the problems of the others."""
    problems: list[Problem] = []
    records: list[Record] = []
    custom = getattr(MetadataCatalog.get(name), "custom", None)
    try:
        records = DatasetCatalog.get(name) if custom is None else custom.load(problems.append)
    except DataError as error:
        # Loaders that raise at the first problem start its message with the file.
        file, separator, _ = str(error).partition(": ")
        problems.append(Problem.from_error(error, file if separator else name))
    except FileNotFoundError as error:  # Detectron2's own loaders
        problems.append(Problem("missing-file", str(error.filename or name), "there is no such file"))
    if not records and not problems:
        problems.append(Problem("format", name, "the data set has no records"))
    if lacking := [key for key in REQUIRED if any(key not in record for record in records)]:
        problems.append(Problem("format", name, f"records without {', '.join(lacking)}"))
        return [], problems
    return records, problems


def _check_unique(records: Sequence[Record], name: str, report: Report) -> None:
    """Report ids and files that occur twice."""
    check_image_ids(records, name, report)
    image_ids: set[Any] = set()
    annotation_ids: set[Any] = set()
    image_of: dict[str, Any] = {}
    for record in records:
        image_id = record["image_id"]
        if image_id in image_ids:
            continue  # its files and annotations occur twice too
        image_ids.add(image_id)
        for file in list_record_files(record):
            if (other := image_of.setdefault(file, image_id)) != image_id:
                report(Problem("duplicate", file, f"the images {other!r} and {image_id!r} both have it"))
                break
        for annotation_id in (a["id"] for a in record.get("annotations", ()) if "id" in a):
            if annotation_id in annotation_ids:
                where = f"annotation {annotation_id}"
                report(Problem("duplicate", record["file_name"], "the annotation id is there twice", where))
            annotation_ids.add(annotation_id)


def _check_seen(name: str, file: str, digest: bytes, first_of: dict[bytes, tuple[str, str]], report: Report) -> None:
    """Report an image whose pixels occurred before; a file that occurs twice in a data set is reported already."""
    if not digest:
        return
    first_name, first_file = first_of.setdefault(digest, (name, file))
    if first_file != file:
        where = "" if first_name == name else f" of data set {first_name!r}"
        report(Problem("same-image", file, f"its pixels are those of {first_file}{where}"))
    elif first_name != name:
        report(Problem("same-image", file, f"it is in data set {first_name!r} and in {name!r}"))


def _check_classes(name: str, statistics: Statistics, report: Report) -> None:
    """Report classes that never occur, and those with crowds only; what makes a whole score undefined once."""
    custom = getattr(MetadataCatalog.get(name), "custom", None)
    file = name if custom is None else str(custom.classes or name)
    things = [cls for cls in statistics.classes if cls.instances is not None]
    without_instances = bool(things) and not any(cls.instances or cls.crowds for cls in things)
    if without_instances:
        report(Problem("undefined-score", file, f"no instance in {name!r}: average precision is undefined"))
    if statistics.void_share == 1:
        report(Problem("undefined-score", file, f"no pixel in {name!r} has a class: mIoU is undefined"))
    absent = [cls.name for cls in statistics.classes if cls.is_empty and cls.pixels is not None]
    cause = describe_default_void(name, statistics.void_share, absent)
    if cause and statistics.void_share != 1:
        report(Problem("void", file, cause))
    for cls in statistics.classes:
        where = f"class {cls.name!r}"
        by_void = bool(cause) and cls.pixels is not None
        if cls.is_empty and (
            (without_instances and cls.instances is not None) or by_void or statistics.void_share == 1
        ):
            continue  # the cause is reported
        if cls.is_empty:
            report(Problem("empty-class", file, f"it does not occur in {name!r}", where))
        elif cls.instances == 0:
            report(Problem("crowd-class", file, f"all its {cls.crowds} instances in {name!r} are crowds", where))


def _read(tables: Sequence[ClassTable], reader: ImageReader, item: tuple[int, Record]) -> _Reading:
    """Read all files of a record; the item is (index of its data set, record)."""
    index, record = item
    table = tables[index]
    problems: list[Problem] = []
    contents = check_record(record, table, problems.append, reader=reader)
    image = _decode_image(record, reader, problems)
    _check_instance_ids(record, problems.append)
    semantic = has_semantic_ground_truth(record)
    files = {record["file_name"], find_semantic_file(record)} if semantic else set()
    is_sound = not record.get("left_out_segments") and not any(_has_error(problems, file) for file in files)
    if semantic and not contents.pixels.any() and is_sound:
        cause = f"no pixel of its label {find_semantic_file(record)} has a class"
        problems.append(Problem("no-label", record["file_name"], cause))
    present = {i: int(contents.pixels[i]) for i in np.flatnonzero(contents.pixels).tolist()}
    num_void = None
    if semantic and not _has_error(problems, find_semantic_file(record)):
        num_void = record["height"] * record["width"] - sum(present.values())
    return _Reading(
        problems,
        b"" if image is None else _compute_digest(image),
        ImageContents(
            None if image is None else (image.shape[0], image.shape[1]),
            present if semantic else None,
            _measure_instances(record, contents, table) if has_instances(record) else None,
            num_void,
        ),
    )


def _compute_digest(image: np.ndarray) -> bytes:
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(image.data)
    return digest.digest()


def _has_error(problems: Sequence[Problem], file: str) -> bool:
    return any(problem.is_error and problem.file == file for problem in problems)


def _decode_image(record: Record, reader: ImageReader, problems: list[Problem]) -> np.ndarray | None:
    """Return the decoded image; None, with a problem, if it is damaged behind its header."""
    file = record["file_name"]
    if any(
        problem.file == file and problem.kind in ("missing-file", "unreadable", "unsupported") for problem in problems
    ):
        return None
    try:
        # As it is stored: empty images of different brightness are not the same.
        image = reader._replace(percentiles=None).read(file)
        share = read_used_share(file, image, reader.value_range)
        if share < LEAST_USED_SHARE and reader.percentiles is None:
            cause = f"its values are within {100 * share:.1f} % of the possible ones"
            problems.append(Problem("value-range", file, cause))
        return image
    except DataError as error:
        problems.append(Problem.from_error(error, file))
        return None


def _check_instance_ids(record: Record, report: Report) -> None:
    """Check the PNG from which Cityscapes' own instance scores are computed."""
    file = record.get("instance_ids_file_name")
    if file:
        try:
            check_size(read_label(file), (record["height"], record["width"]), file)
        except DataError as error:
            report(Problem.from_error(error, file))


def _measure_instances(record: Record, contents: Contents, table: ClassTable) -> InstanceMeasures:
    """Return the instances that training reads: those of `annotations` or, without this key, the segments of things."""
    if "annotations" not in record:
        things = [(s, *(side.stop - side.start for side in s.window)) for s in contents.segments if s.cls.is_thing]
        return InstanceMeasures.from_rows([(s.cls.category_id, s.is_crowd, s.area, h, w) for s, h, w in things])
    rows = []
    for annotation in record["annotations"]:
        size = _measure_annotation(annotation, (record["height"], record["width"]))
        if size is not None and 0 <= annotation["category_id"] < table.num_things:
            rows.append((annotation["category_id"], bool(annotation.get("iscrowd", 0)), *size))
    return InstanceMeasures.from_rows(rows)


def _measure_annotation(annotation: Mapping[str, Any], image_size: tuple[int, int]) -> tuple[int, int, int] | None:
    """Return pixels, height and width of an instance's mask or, without one, its box; None if that is invalid."""
    if annotation.get("segmentation"):
        try:
            rle = convert_to_rle(annotation["segmentation"], image_size, "")
        except DataError:
            return None  # `check_record` has reported it
        _, _, width, height = mask_util.toBbox(rle).tolist()
        return int(mask_util.area(rle)), int(height), int(width)
    box = np.array(BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS), dtype=np.float64)
    if not (box[:2] <= box[2:]).all():  # NaN too
        return None
    # The part outside of the image does not count, and may exceed every integer.
    width, height = np.rint(np.diff(np.clip(box.reshape(2, 2), 0, image_size[::-1]), axis=0)).astype(int)[0].tolist()
    return width * height, height, width
