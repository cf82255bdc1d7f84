"""Readers and checks of a model's output for one image, in either form of MODEL.UNIFIED.OUTPUT.

If a fusion refined the predictions, `unfused` in the output is the output before the fusion.

H, W = the image; N = instances.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances

from unified_seg.evaluation.base import Output, Record
from unified_seg.hints import format_hint
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable, SegmentClass


def get_label_map(output: Output) -> torch.Tensor | None:
    """Return the predicted semantic ids (H, W), or None if there is no semantic prediction."""
    if "sem_seg_labels" in output:
        return output["sem_seg_labels"]
    return output["sem_seg"].argmax(dim=0) if "sem_seg" in output else None


def read_labels(record: Record, output: Output) -> np.ndarray:
    """Read the predicted semantic ids: (H, W) integers.

    Raises:
        ValueError: there is no semantic prediction, or it has another size than the image.
    """
    labels = get_label_map(output)
    if labels is None:
        raise ValueError(f"{_name(record)}: the model's output has no 'sem_seg', only {sorted(output)}")
    _check_size(record, "semantic map", labels.shape)
    return labels.cpu().numpy()


def read_instances(record: Record, output: Output, with_masks: bool) -> Instances:
    """Read the predicted instances, on the CPU.

    Args:
        with_masks: whether `pred_masks` is needed; it is returned as BoxMasks.

    Raises:
        ValueError: there are no instances or no masks, they have another size than the image, or a score is not
            finite.
    """
    instances: Instances = _get(record, output, "instances").to(torch.device("cpu"))
    _check_size(record, "instances", instances.image_size)
    if not torch.isfinite(instances.scores).all():
        raise ValueError(f"{_name(record)}: a score of an instance is not finite")
    if not with_masks:
        return instances
    if not instances.has("pred_masks"):
        boxes_only = format_hint("MODEL.MASK_ON", False, "MODEL.PANOPTIC_FUSION.NAME", "")
        raise ValueError(f"{_name(record)}: instances have no pred_masks; set {boxes_only} for a box detector")
    if not isinstance(instances.pred_masks, BoxMasks):
        instances.pred_masks = BoxMasks.from_full(instances.pred_masks.bool())
    if len(instances):
        _check_size(record, "masks", instances.pred_masks.image_size)
    return instances


def read_panoptic(record: Record, output: Output) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Read the predicted panoptic map: segment ids (H, W) int32 with 0 = void, and the description of each segment.

    Raises:
        ValueError: there is no panoptic map, it has no segments_info, or another size than the image.
    """
    ids, segments_info = _get(record, output, "panoptic_seg")
    if segments_info is None:
        raise ValueError(f"{_name(record)}: the panoptic map has no segments_info, so its classes are unknown")
    _check_size(record, "panoptic map", ids.shape)
    return ids.cpu().numpy(), segments_info


def find_segment_class(record: Record, info: dict[str, Any], table: ClassTable) -> SegmentClass:
    """Return the class of a predicted segment.

    Raises:
        ValueError: the data set has no such class.
    """
    try:
        return table.find_class(info["category_id"], bool(info["isthing"]))
    except ValueError as error:
        raise ValueError(f"{_name(record)}: predicted segment {info['id']}: {error}") from None


def _get(record: Record, output: Output, key: str) -> Any:
    if key not in output:
        raise ValueError(f"{_name(record)}: the model's output has no {key!r}, only {sorted(output)}")
    return output[key]


def _check_size(record: Record, what: str, size: Sequence[int]) -> None:
    expected = (record["height"], record["width"])
    if tuple(size) != expected:
        raise ValueError(f"{_name(record)}: {what} of {tuple(size)} (H, W), but the image has {expected}")


def _name(record: Record) -> str:
    return f"image {record['image_id']!r}"
