"""COCO's panoptic format: a JSON of images, categories and segments, and a folder of PNGs that code the segments' ids.

H, W = an image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unified_seg.data.coco.records import (
    ImageEntry,
    ImageId,
    Json,
    class_of,
    field,
    flag,
    read_image_entries,
    read_object,
    records_of,
)
from unified_seg.data.io.file_system import resolve_below
from unified_seg.data.io.image_files import MAX_SEGMENT_ID
from unified_seg.data.problems import Problem, RecordError, Report, stop
from unified_seg.structures.class_table import ClassTable

Record = dict[str, Any]


def load_coco_panoptic(
    json_file: Path,
    image_root: Path,
    png_root: Path,
    table: ClassTable,
    *,
    semantic_root: Path | None = None,
    report: Report = stop,
) -> list[Record]:
    """The records of a data set in COCO's panoptic format, in the order of its images.

    Args:
        json_file: with `images` (id, file_name, height, width) and `annotations` (image_id, file_name, segments_info).
        image_root: the folder of the images, which may have any suffix.
        png_root: the folder of the PNGs.
        table: the classes, whose dataset ids the JSON's category ids are.
        semantic_root: a folder of semantic PNGs with the names of the images; None: semantic labels are the classes of
            the segments.
        report: gets what is wrong with a record, which is then left out.

    Returns:
        Records in Detectron2's terms: file_name, image_id, height, width, pan_seg_file_name, segments_info (id,
        category_id, isthing, iscrowd, area if it is there), and sem_seg_file_name if asked for.

    Raises:
        DataError: not such a file; and, by the default report, the first thing wrong with a record.
    """
    content = read_object(json_file)
    images = read_image_entries(json_file, content, report)
    annotations = read_panoptic_annotations(json_file, content, images, png_root, table, report)
    records = []
    for entry in images.values():
        where = f"image {entry.id!r}"
        if entry.id not in annotations:
            report(Problem("missing-truth", str(json_file), "there is no annotation of it", where))
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


def read_panoptic_annotations(
    json_file: Path,
    content: Json,
    images: Mapping[ImageId, ImageEntry],
    png_root: Path,
    table: ClassTable,
    report: Report = stop,
) -> dict[ImageId, Record]:
    """By image id what the annotations of a panoptic JSON say: all of a record but the image's file.

    Args, raises:
        As `load_coco_panoptic`.
    """
    found: dict[ImageId, Record] = {}
    for where, annotation in records_of(json_file, content.get("annotations"), "annotations"):
        try:
            image_id = field(annotation, "image_id", int, str)
            where = f"{where} (image {image_id!r})"
            if image_id not in images:
                raise RecordError("the image has no entry under images", kind="missing-file")
            if image_id in found:
                raise RecordError("the image has two annotations", kind="duplicate")
            height, width = images[image_id].size
            found[image_id] = {
                "image_id": image_id,
                "height": height,
                "width": width,
                "pan_seg_file_name": str(resolve_below(png_root, field(annotation, "file_name", str))),
                "segments_info": _segments(json_file, where, annotation, table, report),
            }
        except RecordError as error:
            report(Problem(error.kind, str(json_file), str(error), where))
    return found


def _segments(json_file: Path, where: str, annotation: Json, table: ClassTable, report: Report) -> list[Record]:
    segments = []
    infos = annotation.get("segments_info")
    if not isinstance(infos, list):
        raise RecordError(f"segments_info must be a list, got {infos!r:.80}")
    for index, info in enumerate(infos):
        try:
            segments.append(_segment(info, table))
        except RecordError as error:
            report(Problem(error.kind, str(json_file), str(error), f"{where}, segment {index}"))
    return segments


def _segment(info: Any, table: ClassTable) -> Record:
    """A segment in Detectron2's terms: its category_id is the thing id of a thing and the semantic id of stuff."""
    if not isinstance(info, dict):
        raise RecordError(f"a segment must be an object, got {info!r:.80}")
    segment_id = field(info, "id", int)
    if not 1 <= segment_id <= MAX_SEGMENT_ID:
        raise RecordError(f"id must be 1 to {MAX_SEGMENT_ID}, got {segment_id}", kind="segments")
    cls = class_of(info, table)
    segment = {
        "id": segment_id,
        "category_id": cls.category_id,
        "isthing": cls.is_thing,
        "iscrowd": int(flag(info, "iscrowd")),
    }
    return {**segment, "area": field(info, "area", int, float)} if "area" in info else segment
