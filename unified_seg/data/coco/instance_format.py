"""COCO's instance format: a JSON of images, categories and annotations with boxes and masks.

H, W = an image.
"""

from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode
from msgspec import UNSET
from pycocotools import mask as mask_util

from unified_seg.data.coco.categories import match_categories
from unified_seg.data.coco.masks import convert_to_rle, drop_empty_polygons
from unified_seg.data.coco.records import InstanceEntry, RepeatedCauses, find_thing_id, read_image_entries
from unified_seg.data.io.text_files import read_json_object
from unified_seg.data.io.typed_records import Notes, convert_record, iterate_records
from unified_seg.data.problems import DataError, RecordError, Report, raise_error
from unified_seg.structures.class_table import ClassTable

Record = dict[str, Any]


def load_coco_instances(
    json_file: Path,
    image_root: Path,
    table: ClassTable,
    *,
    report: Report = raise_error,
    left_out: set[str | None] | None = None,
) -> list[Record]:
    """Return the records of a data set in COCO's instance format, in the order of its images.

    An image without annotations is one without instances. A file whose `annotations` are absent or null, such
    as COCO's image_info files, has no ground truth: its records have no `annotations` either.

    Args:
        json_file: with `images` (id, file_name, height, width) and `annotations` (image_id, category_id, bbox, perhaps
            id, segmentation, iscrowd). Annotation ids may be any, but each once. An annotation without a bbox gets
            that of its mask.
        image_root: the folder of the images, which may have any suffix.
        table: the classes, found by the names that the JSON's categories give its category ids, see
            `match_categories`.
        report: gets the problems; a wrong record is left out.
        left_out: gets the files of images that are left out with a problem; None is one whose name can't be read.

    Returns:
        Records in Detectron2's terms: file_name, image_id, height, width, annotations (bbox, bbox_mode, category_id =
        thing id, iscrowd, id and segmentation if they are there). Masks are as in the file: `check_segmentation`
        checks them when they are used.

    Raises:
        DataError: not such a file; and, by the default report, the first thing wrong with a record.
    """
    content = read_json_object(json_file)
    images = read_image_entries(json_file, content, report, image_root)
    records = images.make_records(json_file, image_root, report)
    if left_out is not None:
        left_out |= images.find_refused_files(image_root)
    if content.get("annotations") is None:
        return list(records.values())
    for record in records.values():
        record["annotations"] = []
    classes = match_categories(json_file, content, table)
    seen: set[int] = set()
    notes, causes = Notes(), RepeatedCauses(json_file, report)
    for where, annotation in iterate_records(json_file, content["annotations"], "annotations"):
        try:
            instance = convert_record(annotation, InstanceEntry, notes, where)
            image = images.find(instance.image_id)
            if image is None or image.id not in records:  # the image is reported
                continue
            made = _to_annotation(instance, find_thing_id(instance.category_id, classes), image.size, notes, where)
            if "id" in made:
                if made["id"] in seen:
                    raise RecordError(f"the annotation id {made['id']} is there twice", kind="duplicate")
                seen.add(made["id"])
            records[image.id]["annotations"].append(made)
        except RecordError as error:
            causes.add(error, where)
    causes.report_all()
    notes.log(json_file, report)
    return list(records.values())


def _to_annotation(
    instance: InstanceEntry, thing_id: int, image_size: tuple[int, int], notes: Notes, where: str
) -> Record:
    """Return an instance in Detectron2's terms."""
    segmentation = drop_empty_polygons(instance.segmentation)
    if segmentation != instance.segmentation:
        notes.add("segmentation has polygons without points, left out", where)
    box = instance.bbox
    if not box or (segmentation and not any(box)):
        box = _measure_box(segmentation, image_size)
        notes.add("bbox is absent, computed from the mask", where)
    if len(box) != 4:
        raise RecordError(f"bbox must be x, y, width, height, got {box!r:.80}")
    if min(box[2:]) < 0:
        raise RecordError(f"bbox must be x, y, width, height with width and height >= 0, got {box}", kind="box")
    if min(box[2:]) == 0:  # COCO's own files have some
        raise RecordError(f"its bbox {box} has no area, so it is left out", kind="no-area")
    made: Record = {
        "bbox": box,
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": thing_id,
        "iscrowd": int(instance.iscrowd),
    }
    if instance.id is not UNSET:
        made["id"] = instance.id
    if segmentation:
        made["segmentation"] = segmentation
    return made


def _measure_box(segmentation: Any, image_size: tuple[int, int]) -> list[float]:
    """Return x, y, width, height of the box around the mask."""
    if not segmentation:
        raise RecordError("it has neither a bbox nor a segmentation", kind="box")
    try:
        rle = convert_to_rle(segmentation, image_size, "segmentation")
    except DataError as error:
        raise RecordError(str(error), kind=error.kind) from None
    return [float(value) for value in mask_util.toBbox(rle)]
