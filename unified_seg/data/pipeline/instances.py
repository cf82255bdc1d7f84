"""The ground-truth instances of an image after augmentation, for Detectron2's heads.

(H, W) = the image after augmentation, N = instances.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Boxes, Instances
from pycocotools import mask as mask_util

from unified_seg.data.coco.masks import Rle, check_masks, check_segmentation, name_annotation
from unified_seg.data.pipeline.shared_masks import SharedMasks
from unified_seg.ops.id_maps import measure_segments
from unified_seg.ops.polygons import draw_polygons

Record = Mapping[str, Any]
# The top row, the left column and the mask (h, w) bool of a part of an image.
Window = tuple[int, int, np.ndarray]


def make_instances_from_segments(segments: np.ndarray, infos: Sequence[Record]) -> Instances:
    """Return the visible things of a panoptic map, without crowds, with their tight boxes.

    Args:
        segments: (H, W), the number of each pixel's segment: 0 = void, i + 1 = `infos[i]`.
        infos: segments_info.
    """
    extents = measure_segments(segments, range(len(infos) + 1))[1:]
    is_chosen = [bool(info["isthing"]) and not info.get("iscrowd", 0) for info in infos]
    chosen = np.flatnonzero(np.array(is_chosen, dtype=bool) & (extents[:, 0] > 0))
    top, bottom, left, right = extents[chosen, 1:].T
    places = torch.from_numpy(np.stack([np.zeros_like(chosen), chosen + 1], axis=1))
    return _make_instances(
        SharedMasks(torch.from_numpy(np.require(segments, requirements="W"))[None], places),
        np.stack([left, top, right, bottom], axis=1),
        [infos[i]["category_id"] for i in chosen.tolist()],
    )


def make_instances_from_annotations(
    record: Record, transforms: T.TransformList, size: tuple[int, int], with_masks: bool
) -> Instances:
    """Return the instances of COCO's boxes with polygons or run lengths, without crowds.

    Args:
        record: with `annotations`.
        transforms: those of the image.
        size: (H, W).
        with_masks: read the masks; boxes are then those of the masks.
    """
    annotations = [(i, a) for i, a in enumerate(record["annotations"]) if not a.get("iscrowd", 0)]
    if not with_masks:
        boxes = [{key: value for key, value in a.items() if key != "segmentation"} for _, a in annotations]
        moved = [detection_utils.transform_instance_annotations(box, transforms, size) for box in boxes]
        return detection_utils.filter_empty_instances(detection_utils.annotations_to_instances(moved, size))
    check_masks(record)
    masks = [_read_mask(record, index, annotation) for index, annotation in annotations]
    windows = []
    for mask, polygons in zip(masks, _move_polygons(masks, transforms)):
        if isinstance(mask, dict):
            windows.append((0, 0, transforms.apply_segmentation(mask_util.decode(mask)).view(bool)))
        else:
            windows.append(draw_polygons(polygons, size))
    return make_instances(windows, [int(annotation["category_id"]) for _, annotation in annotations], size)


def _read_mask(record: Record, index: int, annotation: Record) -> Rle | list[np.ndarray]:
    """Return the mask of an annotation, checked; see `check_segmentation`."""
    where = f"{record['file_name']}: {name_annotation(annotation, index)}"
    return check_segmentation(annotation["segmentation"], (record["height"], record["width"]), where)


def _move_polygons(masks: Sequence[Rle | list[np.ndarray]], transforms: T.TransformList) -> list[list[np.ndarray]]:
    """Return the transformed polygons of each mask; of run lengths none."""
    polygons = [[] if isinstance(mask, dict) else mask for mask in masks]
    points = [polygon for group in polygons for polygon in group]
    if not points:
        return polygons
    # All at once: a transform takes some microseconds a call. What lies outside is clipped where it is drawn.
    moved = transforms.apply_coords(np.concatenate(points))
    parts = iter(np.split(moved, np.cumsum([len(part) for part in points])[:-1]))
    return [[next(parts) for _ in group] for group in polygons]


def make_instances(windows: Sequence[Window], classes: Sequence[int], size: tuple[int, int]) -> Instances:
    """Return instances with the tight boxes of their masks; empty masks are left out.

    Args:
        windows: with the masks.
        classes: thing ids.
        size: (H, W).
    """
    kept, boxes = [], []
    for index, (top, left, mask) in enumerate(windows):
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        if len(rows):
            kept.append(index)
            boxes.append((left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1))
    masks = SharedMasks.from_windows([windows[i] for i in kept], size)
    return _make_instances(masks, np.array(boxes).reshape(-1, 4), [classes[i] for i in kept])


def _make_instances(masks: BitMasks, boxes: np.ndarray, classes: Sequence[int]) -> Instances:
    """Return instances of masks with boxes (N, 4): left, top, right, bottom, the last two exclusive."""
    height, width = masks.image_size
    instances = Instances((int(height), int(width)))
    instances.gt_boxes = Boxes(torch.from_numpy(boxes.astype(np.float32)))
    instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
    instances.gt_masks = masks
    return instances
