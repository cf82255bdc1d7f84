"""COCO's instance format: a JSON of images, categories and annotations with boxes and masks.

H, W = an image.
"""

from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode
from msgspec import UNSET

from unified_seg.data.coco.records import ImageId, InstanceEntry, find_thing_id, read_image_entries
from unified_seg.data.io.file_system import resolve_below
from unified_seg.data.io.text_files import read_json_object
from unified_seg.data.io.typed_records import convert_record, iterate_records
from unified_seg.data.problems import Problem, RecordError, Report, raise_error
from unified_seg.structures.class_table import ClassTable

Record = dict[str, Any]


def load_coco_instances(
    json_file: Path, image_root: Path, table: ClassTable, *, report: Report = raise_error
) -> list[Record]:
    """Return the records of a data set in COCO's instance format, in the order of its images.

    An image without annotations is one without instances. A file without the list `annotations`, such as COCO's
    image_info files, has no ground truth: its records have no `annotations` either.

    Args:
        json_file: with `images` (id, file_name, height, width) and `annotations` (image_id, category_id, bbox, perhaps
            id, segmentation, iscrowd). Annotation ids may be any, but each once.
        image_root: the folder of the images, which may have any suffix.
        table: the classes, whose dataset ids the JSON's category ids are.
        report: gets the problems; a wrong record is left out.

    Returns:
        Records in Detectron2's terms: file_name, image_id, height, width, annotations (bbox, bbox_mode, category_id =
        thing id, iscrowd, id and segmentation if they are there). Masks are as in the file: `check_segmentation`
        checks them when they are used.

    Raises:
        DataError: not such a file; and, by the default report, the first thing wrong with a record.
    """
    content = read_json_object(json_file)
    records: dict[ImageId, Record] = {}
    for entry in read_image_entries(json_file, content, report).values():
        try:
            file = resolve_below(image_root, entry.file_name)
        except RecordError as error:
            report(Problem(error.kind, str(json_file), str(error), f"image {entry.id!r}"))
            continue
        size = {"height": entry.height, "width": entry.width}
        records[entry.id] = {"file_name": str(file), "image_id": entry.id, **size}
    if "annotations" not in content:
        return list(records.values())
    for record in records.values():
        record["annotations"] = []
    seen: set[int] = set()
    for where, annotation in iterate_records(json_file, content.get("annotations"), "annotations"):
        try:
            instance = convert_record(annotation, InstanceEntry)
            if instance.image_id not in records:
                cause = f"its image id {instance.image_id!r} is not among the images"
                raise RecordError(cause, kind="missing-file")
            made = _to_annotation(instance, table)
            if "id" in made:
                if made["id"] in seen:
                    raise RecordError(f"the annotation id {made['id']} is there twice", kind="duplicate")
                seen.add(made["id"])
            records[instance.image_id]["annotations"].append(made)
        except RecordError as error:
            report(Problem(error.kind, str(json_file), str(error), where))
    return list(records.values())


def _to_annotation(instance: InstanceEntry, table: ClassTable) -> Record:
    """Return an instance in Detectron2's terms."""
    box = list(instance.bbox)
    if min(box[2:]) < 0:
        raise RecordError(f"bbox must be x, y, width, height with width and height >= 0, got {box}", kind="box")
    if min(box[2:]) == 0:  # COCO's own files have some
        raise RecordError(f"its bbox {box} has no area, so it is left out", kind="no-area")
    made: Record = {
        "bbox": box,
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": find_thing_id(instance.category_id, table),
        "iscrowd": int(instance.iscrowd),
    }
    if instance.id is not UNSET:
        made["id"] = instance.id
    if instance.segmentation:
        made["segmentation"] = instance.segmentation
    return made
