"""COCO's instance format: a JSON of images, categories and annotations with boxes and masks.

H, W = an image.
"""

from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode

from unified_seg.data.coco.records import (
    Json,
    field,
    flag,
    numbers,
    read_image_entries,
    read_object,
    records_of,
    thing_of,
)
from unified_seg.data.io.file_system import resolve_below
from unified_seg.data.problems import Problem, RecordError, Report, stop
from unified_seg.structures.class_table import ClassTable

Record = dict[str, Any]


def load_coco_instances(json_file: Path, image_root: Path, table: ClassTable, *, report: Report = stop) -> list[Record]:
    """The records of a data set in COCO's instance format, in the order of its images.

    An image without annotations is one without instances.

    Args:
        json_file: with `images` (id, file_name, height, width) and `annotations` (image_id, category_id, bbox, perhaps
            id, segmentation, iscrowd). Annotation ids may be any, but each once.
        image_root: the folder of the images, which may have any suffix.
        table: the classes, whose dataset ids the JSON's category ids are.
        report: gets what is wrong with a record, which is then left out.

    Returns:
        Records in Detectron2's terms: file_name, image_id, height, width, annotations (bbox, bbox_mode, category_id =
        thing id, iscrowd, id and segmentation where they are there). Masks are as in the file: `check_segmentation`
        looks at them when they are used.

    Raises:
        DataError: not such a file; and, by the default report, the first thing wrong with a record.
    """
    content = read_object(json_file)
    records: dict[int | str, Record] = {}
    for entry in read_image_entries(json_file, content, report).values():
        try:
            file = resolve_below(image_root, entry.file_name)
        except RecordError as error:
            report(Problem(error.kind, str(json_file), str(error), f"image {entry.id!r}"))
            continue
        height, width = entry.size
        size = {"height": height, "width": width}
        records[entry.id] = {"file_name": str(file), "image_id": entry.id, **size, "annotations": []}
    seen: set[int] = set()
    for where, annotation in records_of(json_file, content.get("annotations"), "annotations"):
        try:
            image_id = field(annotation, "image_id", int, str)
            if image_id not in records:
                raise RecordError(f"its image id {image_id!r} is not among the images", kind="missing-file")
            made = _annotation(annotation, table)
            if made.get("id") in seen:
                raise RecordError(f"the annotation id {made['id']} is there twice", kind="duplicate")
            seen |= {made["id"]} if "id" in made else set()
            records[image_id]["annotations"].append(made)
        except RecordError as error:
            report(Problem(error.kind, str(json_file), str(error), where))
    return list(records.values())


def _annotation(annotation: Json, table: ClassTable) -> Record:
    box = numbers(annotation, "bbox", 4)
    if min(box[2:]) < 0:
        raise RecordError(f"bbox must be x, y, width, height, none of them below 0, got {box}", kind="box")
    if min(box[2:]) == 0:  # COCO's own files have some
        raise RecordError(f"its bbox {box} has no area, so it is left out", kind="no-area")
    made: Record = {
        "bbox": box,
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": thing_of(annotation, table),
        "iscrowd": int(flag(annotation, "iscrowd")),
    }
    if "id" in annotation:
        made["id"] = field(annotation, "id", int)
    if annotation.get("segmentation"):
        made["segmentation"] = annotation["segmentation"]
    return made
