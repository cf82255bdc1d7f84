"""The true instances of a record, checked before any score is made of them.

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
    """The panoptic ground truth of the image in hand, read and checked once for all evaluators that look at it.

    Nothing but the last image is kept, and every evaluation starts by forgetting it: what was edited since is read.

    Args:
        table: the classes.
    """

    def __init__(self, table: ClassTable):
        self.table = table
        self._image_id: Any = None
        self._ground_truth: tuple[np.ndarray, list[GroundTruthSegment]] | None = None

    def of(self, record: Record) -> tuple[np.ndarray, list[GroundTruthSegment]]:
        """Returns and raises as `read_segments`; what it returns must not be changed."""
        if self._ground_truth is None or self._image_id != record["image_id"]:
            self._image_id, self._ground_truth = record["image_id"], read_segments(record, self.table)
        return self._ground_truth

    def forget(self) -> None:
        self._ground_truth = None


class PanopticGroundTruthEvaluator(PerImageEvaluator[Item]):
    """Base of the evaluators that look at the panoptic ground truth.

    Args:
        table, records, output_folder: see `PerImageEvaluator`.
        ground_truth: the reader of the ground truth that evaluators of one data set share; one of its own by default.
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
        self.ground_truth.forget()


@dataclass(frozen=True)
class GroundTruthInstance:
    """Attributes: box x, y, width, height in pixels; area in pixels; mask None where the data set has boxes only."""

    thing_id: int
    box: tuple[float, float, float, float]
    area: float
    is_crowd: bool
    mask: Rle | None


def read_gt_instances(record: Record, ground_truth: PanopticGroundTruth, with_masks: bool) -> list[GroundTruthInstance]:
    """The instances of a record: its `annotations` where it has them, else the things of its panoptic PNG.

    Raises:
        DataError: as `read_segments`; or an annotation with an unknown class, or (with masks) without a usable one.
    """
    if "annotations" in record:
        return [_annotated(record, i, ground_truth.table, with_masks) for i in range(len(record["annotations"]))]
    ids, segments = ground_truth.of(record)
    return [_from_segment(ids, segment) for segment in segments if segment.cls.is_thing]


def _from_segment(ids: np.ndarray, segment: GroundTruthSegment) -> GroundTruthInstance:
    rows, columns = segment.window
    rle = encode_window(ids[segment.window] == segment.id, rows.start, columns.start, (ids.shape[0], ids.shape[1]))
    box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    return GroundTruthInstance(segment.cls.category_id, box, segment.area, segment.is_crowd, rle)


def _annotated(record: Record, index: int, table: ClassTable, with_masks: bool) -> GroundTruthInstance:
    annotation = record["annotations"][index]
    where = f"{record['file_name']}: annotation {index}"
    thing_id = annotation["category_id"]
    if not 0 <= thing_id < table.num_things:
        raise DataError(f"{where}: category_id {thing_id} is no thing class (0 .. {table.num_things - 1})")
    x, y, width, height = BoxMode.convert(list(annotation["bbox"]), annotation["bbox_mode"], BoxMode.XYWH_ABS)
    mask, area = None, float(width * height)
    if annotation.get("segmentation"):
        mask = convert_to_rle(annotation["segmentation"], (record["height"], record["width"]), where)
        area = float(mask_util.area(mask))
    elif with_masks:
        raise DataError(f"{where} has no segmentation, so mask AP can't be computed; set MODEL.MASK_ON False")
    return GroundTruthInstance(thing_id, (x, y, width, height), area, bool(annotation.get("iscrowd", 0)), mask)
