"""A model's output in one form, whichever of the two it came in (MODEL.UNIFIED.OUTPUT).

Where a fusion refines what the heads said, the output's `unfused` is an output as well: the one before the fusion.

H, W = the image; N = instances.
"""

from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances

from unified_seg.evaluation.base import Output, Record
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable, SegmentClass


def get_label_map(output: Output) -> torch.Tensor | None:
    """(H, W) the predicted semantic ids; None where there is no semantic prediction."""
    if "sem_seg_labels" in output:
        return output["sem_seg_labels"]
    return output["sem_seg"].argmax(dim=0) if "sem_seg" in output else None


def read_labels(record: Record, output: Output) -> np.ndarray:
    """(H, W) integers, the predicted semantic ids.

    Raises:
        ValueError: the model gave no semantic prediction, or one of another size.
    """
    labels = get_label_map(output)
    if labels is None:
        raise ValueError(f"{_name(record)}: the model gave no 'sem_seg', only {sorted(output)}")
    size = (record["height"], record["width"])
    if tuple(labels.shape) != size:
        raise ValueError(f"{_name(record)}: a semantic map of {tuple(labels.shape)} for an image of {size} (H, W)")
    return labels.cpu().numpy()


def read_instances(record: Record, output: Output, with_masks: bool) -> Instances:
    """The predicted instances on the CPU, their `pred_masks` (where asked for) as BoxMasks.

    Raises:
        ValueError: the model gave no instances, or no masks, or masks of another size, or a score that is no number.
    """
    found: Instances = _part(record, output, "instances").to(torch.device("cpu"))
    size = (record["height"], record["width"])
    if tuple(found.image_size) != size:
        raise ValueError(f"{_name(record)}: instances for an image of {tuple(found.image_size)}, but it has {size}")
    if not torch.isfinite(found.scores).all():
        raise ValueError(f"{_name(record)}: an instance has a score that is not a number")
    if not with_masks:
        return found
    if not found.has("pred_masks"):
        raise ValueError(f"{_name(record)}: instances without pred_masks; set MODEL.MASK_ON False for a box detector")
    masks = found.pred_masks
    if not isinstance(masks, BoxMasks):
        masks = BoxMasks.from_full(masks.bool())
        found.pred_masks = masks
    if len(masks) and tuple(masks.image_size) != size:
        raise ValueError(f"{_name(record)}: masks of {tuple(masks.image_size)} for an image of {size}")
    return found


def read_panoptic(record: Record, output: Output) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """(H, W) int32 segment ids with 0 = void, and the description of each segment.

    Raises:
        ValueError: the model gave no panoptic map, or one of another size, or one without segments_info.
    """
    ids, segments_info = _part(record, output, "panoptic_seg")
    if segments_info is None:
        raise ValueError(f"{_name(record)}: a panoptic map without segments_info; the classes can't be known")
    size = (record["height"], record["width"])
    if tuple(ids.shape) != size:
        raise ValueError(f"{_name(record)}: a panoptic map of {tuple(ids.shape)} for an image of {size} (H, W)")
    return ids.cpu().numpy(), segments_info


def find_segment_class(record: Record, info: dict[str, Any], table: ClassTable) -> SegmentClass:
    """The class of a predicted segment.

    Raises:
        ValueError: the data set has no such class.
    """
    try:
        return table.find_class(info["category_id"], bool(info["isthing"]))
    except ValueError as error:
        raise ValueError(f"{_name(record)}: predicted segment {info['id']}: {error}") from None


def _part(record: Record, output: Output, key: str) -> Any:
    if key not in output:
        raise ValueError(f"{_name(record)}: the model gave no {key!r}, only {sorted(output)}")
    return output[key]


def _name(record: Record) -> str:
    return f"image {record['image_id']!r}"
