"""Ground truth in the form of a model's outputs, from the label files of a record or the targets of a training loader.

(H, W) = the image.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances, PolygonMasks
from pycocotools import mask as mask_util
from torch import Tensor

from unified_seg.data.coco.masks import convert_to_rle, name_annotation
from unified_seg.data.io.label_files import check_size, read_panoptic_ids, replace_segments
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth, read_semantic_ground_truth
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable


def read_ground_truth(record: Mapping[str, Any], table: ClassTable) -> dict[str, Any]:
    """Read the labels of a record in the compact form of a model's outputs.

    Args:
        record: `file_name`, `height`, `width`, and any of `sem_seg_file_name`; `pan_seg_file_name` with
            `segments_info`; `annotations` with `bbox`, `bbox_mode`, `category_id` and, for masks, `segmentation`.
        table: of the data set.

    Returns:
        `sem_seg_labels` (H, W), `panoptic_seg`, and `instances` without scores: those of `annotations` if there are
        any, else the thing segments of the panoptic map.

    Raises:
        DataError: a file is missing, unreadable, or has another size than the record; or a mask is invalid.
    """
    size = (record["height"], record["width"])
    ground_truth: dict[str, Any] = {}
    if has_semantic_ground_truth(record):
        ground_truth["sem_seg_labels"] = torch.from_numpy(read_semantic_ground_truth(record, table))
    if "annotations" in record:
        ground_truth["instances"] = _convert_annotations(record["annotations"], size)
    if "pan_seg_file_name" in record:
        file = record["pan_seg_file_name"]
        ids = replace_segments(check_size(read_panoptic_ids(file), size, file), record)
        ground_truth["panoptic_seg"] = (torch.from_numpy(ids), record["segments_info"])
        if "annotations" not in record and table.num_things:
            ground_truth["instances"] = _convert_segments(ids, record["segments_info"])
    return {key: ground_truth[key] for key in ("sem_seg_labels", "instances", "panoptic_seg") if key in ground_truth}


def convert_targets(targets: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the targets of one image from a training loader into the compact form of a model's outputs.

    Args:
        targets: any of `sem_seg` (H, W) and `instances` with `gt_boxes`, `gt_classes` and, if there are masks,
            `gt_masks` (BitMasks or PolygonMasks).
    """
    outputs: dict[str, Any] = {}
    if "sem_seg" in targets:
        outputs["sem_seg_labels"] = targets["sem_seg"]
    if "instances" in targets:
        ground_truth: Instances = targets["instances"]
        instances = Instances(
            ground_truth.image_size, pred_boxes=ground_truth.gt_boxes, pred_classes=ground_truth.gt_classes
        )
        if ground_truth.has("gt_masks"):
            instances.pred_masks = BoxMasks.from_full(_get_full_masks(ground_truth.gt_masks, ground_truth.image_size))
        outputs["instances"] = instances
    return outputs


def _convert_segments(ids: np.ndarray, segments_info: list[dict[str, Any]]) -> Instances:
    things = [info for info in segments_info if info["isthing"]]
    masks = torch.from_numpy(np.stack([ids == info["id"] for info in things]) if things else np.zeros((0, *ids.shape)))
    return _make_instances(
        BoxMasks.from_full(masks.bool()),
        [info["category_id"] for info in things],
        [bool(info.get("iscrowd", 0)) for info in things],
    )


def _convert_annotations(annotations: list[dict[str, Any]], size: tuple[int, int]) -> Instances:
    classes = [annotation["category_id"] for annotation in annotations]
    crowd = [bool(annotation.get("iscrowd", 0)) for annotation in annotations]
    if annotations and all(annotation.get("segmentation") for annotation in annotations):
        rles = [convert_to_rle(a["segmentation"], size, name_annotation(a, i)) for i, a in enumerate(annotations)]
        masks = mask_util.decode(rles).transpose(2, 0, 1).astype(bool)
        return _make_instances(BoxMasks.from_full(torch.from_numpy(masks)), classes, crowd)
    boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    return Instances(
        size,
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        pred_classes=torch.tensor(classes, dtype=torch.int64),
        is_crowd=torch.tensor(crowd, dtype=torch.bool),
    )


def _make_instances(masks: BoxMasks, classes: list[int], crowd: list[bool]) -> Instances:
    return Instances(
        masks.image_size,
        pred_boxes=Boxes(masks.windows.float()),
        pred_classes=torch.tensor(classes, dtype=torch.int64),
        pred_masks=masks,
        is_crowd=torch.tensor(crowd, dtype=torch.bool),
    )


def _get_full_masks(masks: Any, size: tuple[int, int]) -> Tensor:
    if isinstance(masks, PolygonMasks):
        masks = BitMasks.from_polygon_masks(masks, *size)
    return masks.tensor if isinstance(masks, BitMasks) else masks
