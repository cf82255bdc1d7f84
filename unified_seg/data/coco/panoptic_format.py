"""COCO's panoptic format: a JSON of images, categories and segments, and a folder of PNGs with the segments' ids.

H, W = an image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET

from unified_seg.data.coco.categories import match_categories
from unified_seg.data.coco.records import (
    ImageId,
    ImageList,
    PanopticEntry,
    RepeatedCauses,
    SegmentEntry,
    find_class,
    read_image_entries,
)
from unified_seg.data.io.file_system import normalize_name, resolve_below
from unified_seg.data.io.label_files import MAX_SEGMENT_ID
from unified_seg.data.io.text_files import read_json_object
from unified_seg.data.io.typed_records import Json, Notes, convert_record, iterate_records
from unified_seg.data.problems import MissingFileError, Problem, RecordError, Report, raise_error
from unified_seg.structures.class_table import ClassTable, SegmentClass

Record = dict[str, Any]


def load_coco_panoptic(
    json_file: Path,
    image_root: Path,
    png_root: Path,
    table: ClassTable,
    *,
    semantic_root: Path | None = None,
    report: Report = raise_error,
    left_out: set[str | None] | None = None,
) -> list[Record]:
    """Return the records of a data set in COCO's panoptic format, in the order of its images.

    A file whose `annotations` are absent, null or empty has no ground truth: its records have neither
    pan_seg_file_name nor segments_info, nor sem_seg_file_name.

    Args:
        json_file: with `images` (id, file_name, height, width) and `annotations` (image_id, file_name, segments_info).
        image_root: the folder of the images, which may have any suffix.
        png_root: the folder of the PNGs.
        table: the classes, found by the names that the JSON's categories give its category ids, see
            `match_categories`.
        semantic_root: a folder of semantic PNGs with the names of the images; None: semantic labels are the classes of
            the segments.
        report: gets the problems; a wrong record is left out.
        left_out: gets the files of images that are left out with a problem; None is one whose name can't be read.

    Returns:
        Records in Detectron2's terms: file_name, image_id, height, width, pan_seg_file_name, segments_info (id,
        category_id, isthing, iscrowd, area if it is given), and with a semantic_root sem_seg_file_name. If segments
        were left out, `left_out_segments` has their ids.

    Raises:
        DataError: not such a file; and, by the default report, the first thing wrong with a record.
    """
    content = read_json_object(json_file)
    images = read_image_entries(json_file, content, report, image_root)
    if content.get("annotations") in (None, []):
        records = list(images.make_records(json_file, image_root, report).values())
        if left_out is not None:
            left_out |= images.find_refused_files(image_root)
        return records
    if not png_root.is_dir():  # one problem, not one of each file in it
        raise MissingFileError(f"{png_root}: there is no such folder; {json_file} names the PNGs in it")
    annotations = read_panoptic_annotations(json_file, content, images, png_root, table, report)
    records = []
    for entry in images.by_id.values():
        where = f"image {entry.id!r}"
        if entry.id not in annotations:
            if not images.refused & {entry.id, None}:  # else its annotation is wrong, which is reported
                report(Problem("missing-ground-truth", str(json_file), "it has no annotation", where))
            images.refuse(entry.id, entry.file_name)
            continue
        try:
            record = {"file_name": str(resolve_below(image_root, entry.file_name)), **annotations[entry.id]}
            if semantic_root is not None:
                name = Path(normalize_name(entry.file_name)).with_suffix(".png").as_posix()
                record["sem_seg_file_name"] = str(resolve_below(semantic_root, name))
        except RecordError as error:
            images.refuse(entry.id, entry.file_name)
            report(Problem(error.kind, str(json_file), str(error), where))
            continue
        records.append(record)
    if left_out is not None:
        left_out |= images.find_refused_files(image_root)
    return records


def read_panoptic_annotations(
    json_file: Path,
    content: Json,
    images: ImageList,
    png_root: Path,
    table: ClassTable,
    report: Report = raise_error,
) -> dict[ImageId, Record]:
    """Return by image id what the annotations of a panoptic JSON have: all of a record but the image's file.

    Args, raises:
        As `load_coco_panoptic`. The images of wrong annotations are refused.
    """
    found: dict[ImageId, Record] = {}
    classes = match_categories(json_file, content, table)
    notes, causes = Notes(), RepeatedCauses(json_file, report)
    for where, annotation in iterate_records(json_file, content.get("annotations"), "annotations"):
        image = None
        try:
            entry = convert_record(annotation, PanopticEntry, notes, where)
            image = images.find(entry.image_id)
            if image is None:
                continue
            where = f"{where} (image {image.id!r})"
            if image.id in found:
                raise RecordError("the image has two annotations", kind="duplicate")
            found[image.id] = {
                "image_id": image.id,
                "height": image.height,
                "width": image.width,
                "pan_seg_file_name": str(resolve_below(png_root, entry.file_name)),
                **_convert_segments(where, entry.segments_info, classes, notes, causes),
            }
        except RecordError as error:
            if image is None or image.id not in found:
                images.refuse(annotation.get("image_id"), None if image is None else image.file_name)
            causes.add(error, where)
    causes.report_all()
    notes.log(json_file, report)
    return found


def _convert_segments(
    where: str, infos: list[Any], classes: Mapping[int, SegmentClass | str], notes: Notes, causes: RepeatedCauses
) -> Record:
    """Return segments_info, and left_out_segments if there are any."""
    segments, left_out = [], []
    for index, info in enumerate(infos):
        name = f"{where}, segment {index}"
        try:
            segments.append(_convert_segment(info, classes, notes, name))
        except RecordError as error:
            left_out.append(info.get("id") if isinstance(info, dict) else None)
            causes.add(error, name)
    return {"segments_info": segments, **({"left_out_segments": left_out} if left_out else {})}


def _convert_segment(info: Any, classes: Mapping[int, SegmentClass | str], notes: Notes, where: str) -> Record:
    """Return a segment in Detectron2's terms: its category_id is the thing id of a thing, the semantic id of stuff."""
    entry = convert_record(info, SegmentEntry, notes, where)
    if not 1 <= entry.id <= MAX_SEGMENT_ID:
        raise RecordError(f"id must be in [1, {MAX_SEGMENT_ID}], got {entry.id}", kind="segments")
    cls = find_class(entry.category_id, classes)
    segment = {
        "id": entry.id,
        "category_id": cls.category_id,
        "isthing": cls.is_thing,
        "iscrowd": int(entry.iscrowd),
    }
    return segment if entry.area is UNSET else {**segment, "area": entry.area}
