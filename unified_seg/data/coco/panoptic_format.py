"""COCO's panoptic format: a JSON of images, categories and segments, and a folder of PNGs with the segments' ids.

H, W = an image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET

from unified_seg.data.coco.records import (
    ImageEntry,
    ImageId,
    PanopticEntry,
    SegmentEntry,
    find_class,
    read_image_entries,
)
from unified_seg.data.io.file_system import resolve_below
from unified_seg.data.io.image_files import MAX_SEGMENT_ID
from unified_seg.data.io.text_files import read_json_object
from unified_seg.data.io.typed_records import Json, convert_record, iterate_records
from unified_seg.data.problems import Problem, RecordError, Report, raise_error
from unified_seg.structures.class_table import ClassTable

Record = dict[str, Any]


def load_coco_panoptic(
    json_file: Path,
    image_root: Path,
    png_root: Path,
    table: ClassTable,
    *,
    semantic_root: Path | None = None,
    report: Report = raise_error,
) -> list[Record]:
    """Return the records of a data set in COCO's panoptic format, in the order of its images.

    A file without `annotations`, or with an empty list, has no ground truth: its records have neither
    pan_seg_file_name nor segments_info, nor sem_seg_file_name.

    Args:
        json_file: with `images` (id, file_name, height, width) and `annotations` (image_id, file_name, segments_info).
        image_root: the folder of the images, which may have any suffix.
        png_root: the folder of the PNGs.
        table: the classes, whose dataset ids the JSON's category ids are.
        semantic_root: a folder of semantic PNGs with the names of the images; None: semantic labels are the classes of
            the segments.
        report: gets the problems; a wrong record is left out.

    Returns:
        Records in Detectron2's terms: file_name, image_id, height, width, pan_seg_file_name, segments_info (id,
        category_id, isthing, iscrowd, area if it is given), and with a semantic_root sem_seg_file_name.

    Raises:
        DataError: not such a file; and, by the default report, the first thing wrong with a record.
    """
    content = read_json_object(json_file)
    images = read_image_entries(json_file, content, report)
    if "annotations" not in content or content["annotations"] == []:
        return _list_images(json_file, images, image_root, report)
    annotations = read_panoptic_annotations(json_file, content, images, png_root, table, report)
    records = []
    for entry in images.values():
        where = f"image {entry.id!r}"
        if entry.id not in annotations:
            report(Problem("missing-truth", str(json_file), "it has no annotation", where))
            continue
        try:
            record = {"file_name": str(resolve_below(image_root, entry.file_name)), **annotations[entry.id]}
            if semantic_root is not None:
                name = Path(entry.file_name).with_suffix(".png").as_posix()
                record["sem_seg_file_name"] = str(resolve_below(semantic_root, name))
        except RecordError as error:
            report(Problem(error.kind, str(json_file), str(error), where))
            continue
        records.append(record)
    return records


def _list_images(
    json_file: Path, images: Mapping[ImageId, ImageEntry], image_root: Path, report: Report
) -> list[Record]:
    """Return the records of images without ground truth."""
    records = []
    for entry in images.values():
        try:
            file = resolve_below(image_root, entry.file_name)
        except RecordError as error:
            report(Problem(error.kind, str(json_file), str(error), f"image {entry.id!r}"))
            continue
        records.append({"file_name": str(file), "image_id": entry.id, "height": entry.height, "width": entry.width})
    return records


def read_panoptic_annotations(
    json_file: Path,
    content: Json,
    images: Mapping[ImageId, ImageEntry],
    png_root: Path,
    table: ClassTable,
    report: Report = raise_error,
) -> dict[ImageId, Record]:
    """Return by image id what the annotations of a panoptic JSON have: all of a record but the image's file.

    Args, raises:
        As `load_coco_panoptic`.
    """
    found: dict[ImageId, Record] = {}
    for where, annotation in iterate_records(json_file, content.get("annotations"), "annotations"):
        try:
            entry = convert_record(annotation, PanopticEntry)
            where = f"{where} (image {entry.image_id!r})"
            if entry.image_id not in images:
                raise RecordError("the image has no entry under images", kind="missing-file")
            if entry.image_id in found:
                raise RecordError("the image has two annotations", kind="duplicate")
            height, width = images[entry.image_id].size
            found[entry.image_id] = {
                "image_id": entry.image_id,
                "height": height,
                "width": width,
                "pan_seg_file_name": str(resolve_below(png_root, entry.file_name)),
                "segments_info": _convert_segments(json_file, where, entry.segments_info, table, report),
            }
        except RecordError as error:
            report(Problem(error.kind, str(json_file), str(error), where))
    return found


def _convert_segments(json_file: Path, where: str, infos: list[Any], table: ClassTable, report: Report) -> list[Record]:
    segments = []
    for index, info in enumerate(infos):
        try:
            segments.append(_convert_segment(info, table))
        except RecordError as error:
            report(Problem(error.kind, str(json_file), str(error), f"{where}, segment {index}"))
    return segments


def _convert_segment(info: Any, table: ClassTable) -> Record:
    """Return a segment in Detectron2's terms: its category_id is the thing id of a thing, the semantic id of stuff."""
    entry = convert_record(info, SegmentEntry)
    if not 1 <= entry.id <= MAX_SEGMENT_ID:
        raise RecordError(f"id must be in [1, {MAX_SEGMENT_ID}], got {entry.id}", kind="segments")
    cls = find_class(entry.category_id, table)
    segment = {
        "id": entry.id,
        "category_id": cls.category_id,
        "isthing": cls.is_thing,
        "iscrowd": int(entry.iscrowd),
    }
    return segment if entry.area is UNSET else {**segment, "area": entry.area}
