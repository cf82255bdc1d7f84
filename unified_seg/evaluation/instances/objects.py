"""The instances of an image, in ground truth and prediction, as they are scored."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from detectron2.structures import BoxMode
from pycocotools import mask as mask_util

from unified_seg.data.coco.masks import Rle, convert_to_rle
from unified_seg.data.coco.panoptic_segments import GroundTruthSegment
from unified_seg.data.coco.rle import encode_masks, encode_window
from unified_seg.data.problems import DataError
from unified_seg.evaluation.base import Output, PanopticGroundTruth, Record
from unified_seg.evaluation.model_outputs import read_instances
from unified_seg.hints import format_hint
from unified_seg.structures.class_table import ClassTable


@dataclass(frozen=True)
class GroundTruthInstance:
    """An instance of the ground truth.

    Attributes:
        thing_id: its class.
        box: x, y, width, height in pixels.
        area: pixels.
        is_crowd: whether it is a group of objects that are not labeled one by one.
        mask: COCO run lengths; None if the data set has boxes only.
    """

    thing_id: int
    box: tuple[float, float, float, float]
    area: float
    is_crowd: bool
    mask: Rle | None


class Detection(NamedTuple):
    """A detected instance.

    Attributes:
        thing_id: its class.
        score: in [0, 1].
        box: x, y, width, height in pixels.
        mask: COCO run lengths; None for a detector without masks.
    """

    thing_id: int
    score: float
    box: list[float]
    mask: Rle | None


class ImageInstances(NamedTuple):
    """The instances of one image.

    Attributes:
        ground_truth: all instances of the record.
        detections: all predicted instances.
        unfused: the predicted instances before the fusion; None if no fusion changes them.
    """

    ground_truth: list[GroundTruthInstance]
    detections: list[Detection]
    unfused: list[Detection] | None


def read_detections(record: Record, output: Output, table: ClassTable, with_masks: bool) -> list[Detection]:
    """Read the predicted instances of an image.

    Raises:
        ValueError: see `read_instances`; or a class that is no thing class of the data set.
    """
    instances = read_instances(record, output, with_masks)
    classes = instances.pred_classes.tolist()
    outside = {c for c in classes if not 0 <= c < table.num_things}
    if outside:
        raise ValueError(
            f"image {record['image_id']!r}: predicted classes {sorted(outside)} are not thing classes of the data "
            f"set (0 .. {table.num_things - 1})"
        )
    boxes = instances.pred_boxes.tensor.clone()
    boxes[:, 2:] -= boxes[:, :2]
    masks: Iterable[Rle | None] = encode_masks(instances.pred_masks) if with_masks else [None] * len(classes)
    return [Detection(*d) for d in zip(classes, instances.scores.tolist(), boxes.tolist(), masks)]


def read_gt_instances(record: Record, ground_truth: PanopticGroundTruth, with_masks: bool) -> list[GroundTruthInstance]:
    """Read the instances of a record: its `annotations` if it has any, else the things of its panoptic PNG.

    Raises:
        DataError: see `read_segments`; or an annotation has an unknown class or, with masks, no valid mask.
    """
    if "annotations" in record:
        return [_from_annotation(record, i, ground_truth.table, with_masks) for i in range(len(record["annotations"]))]
    ids, segments = ground_truth.read(record)
    return [_from_segment(ids, segment) for segment in segments if segment.cls.is_thing]


def _from_segment(ids: np.ndarray, segment: GroundTruthSegment) -> GroundTruthInstance:
    rows, columns = segment.window
    rle = encode_window(ids[segment.window] == segment.id, rows.start, columns.start, (ids.shape[0], ids.shape[1]))
    box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    return GroundTruthInstance(segment.cls.category_id, box, segment.area, segment.is_crowd, rle)


def _from_annotation(record: Record, index: int, table: ClassTable, with_masks: bool) -> GroundTruthInstance:
    annotation = record["annotations"][index]
    where = f"{record['file_name']}: annotation {index}"
    thing_id = annotation["category_id"]
    if not 0 <= thing_id < table.num_things:
        raise DataError(f"{where}: category_id must be a thing class (0 .. {table.num_things - 1}), got {thing_id}")
    x, y, width, height = BoxMode.convert(list(annotation["bbox"]), annotation["bbox_mode"], BoxMode.XYWH_ABS)
    mask, area = None, float(width * height)
    if annotation.get("segmentation"):
        mask = convert_to_rle(annotation["segmentation"], (record["height"], record["width"]), where)
        area = float(mask_util.area(mask))
    elif with_masks:
        boxes_only = format_hint("MODEL.MASK_ON", False, "MODEL.PANOPTIC_FUSION.NAME", "")
        raise DataError(f"{where}: no segmentation, which mask AP needs; set {boxes_only} for boxes only")
    return GroundTruthInstance(thing_id, (x, y, width, height), area, bool(annotation.get("iscrowd", 0)), mask)
