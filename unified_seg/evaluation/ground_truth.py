"""The panoptic ground truth and the instances of a record, read and checked.

H, W = the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import BoxMode
from pycocotools import mask as mask_util

from unified_seg.data.coco.masks import Rle, convert_to_rle
from unified_seg.data.coco.panoptic_segments import GroundTruthSegment, read_segments
from unified_seg.data.coco.rle import encode_window
from unified_seg.data.problems import DataError
from unified_seg.evaluation.base import Item, PerImageEvaluator, Record
from unified_seg.structures.class_table import ClassTable


class PanopticGroundTruth:
    """A reader of panoptic ground truth that several evaluators share, so that they read each image once.

    It caches the last image only, until the next evaluation.

    Args:
        table: the classes.
    """

    def __init__(self, table: ClassTable):
        self.table = table
        self._image_id: Any = None
        self._cached: tuple[np.ndarray, list[GroundTruthSegment]] | None = None

    def read(self, record: Record) -> tuple[np.ndarray, list[GroundTruthSegment]]:
        """Read the segment ids (H, W) and the segments of a record, which the caller must not change.

        Raises:
            DataError: see `read_segments`.
        """
        if self._cached is None or self._image_id != record["image_id"]:
            self._image_id, self._cached = record["image_id"], read_segments(record, self.table)
        return self._cached

    def clear(self) -> None:
        """Drop the cached image, so that changed files are read again."""
        self._cached = None


class PanopticGroundTruthEvaluator(PerImageEvaluator[Item]):
    """The base class of evaluators that need panoptic ground truth.

    Args:
        table, records, output_folder: see `PerImageEvaluator`.
        ground_truth: a reader to share with other evaluators of the data set; by default the evaluator has its own.
    """

    def __init__(
        self,
        table: ClassTable,
        records: Sequence[Record],
        output_folder: str | Path,
        ground_truth: PanopticGroundTruth | None = None,
    ):
        super().__init__(table, records, output_folder)
        self.ground_truth = ground_truth or PanopticGroundTruth(table)

    def reset(self) -> None:
        super().reset()
        self.ground_truth.clear()


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
        raise DataError(f"{where}: no segmentation, which mask AP needs; set MODEL.MASK_ON False for boxes only")
    return GroundTruthInstance(thing_id, (x, y, width, height), area, bool(annotation.get("iscrowd", 0)), mask)
