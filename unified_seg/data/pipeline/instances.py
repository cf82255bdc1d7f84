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

from unified_seg.data.coco.masks import check_masks, check_segmentation, name_annotation
from unified_seg.data.pipeline.shared_masks import SharedMasks
from unified_seg.ops.id_maps import measure_segments

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
        SharedMasks(torch.from_numpy(segments)[None], places),
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
    windows = []
    for index, annotation in annotations:
        where = f"{record['file_name']}: {name_annotation(annotation, index)}"
        mask = check_segmentation(annotation["segmentation"], (record["height"], record["width"]), where)
        if isinstance(mask, dict):
            windows.append((0, 0, transforms.apply_segmentation(mask_util.decode(mask)).astype(bool)))
        else:
            polygons = transforms.apply_polygons([np.array(polygon).reshape(-1, 2) for polygon in mask])
            windows.append(draw_polygons(polygons, size))
    return make_instances(windows, [int(annotation["category_id"]) for _, annotation in annotations], size)


def draw_polygons(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> Window:
    """Return the window with the mask of polygons (P, 2) of x and y in pixels, as pycocotools draws them.

    Args:
        polygons: of one instance.
        size: (H, W).
    """
    # pycocotools rounds to fifths of a pixel, toward 0 in what lies left of the image or above it.
    fifths = [np.trunc(5 * polygon + 0.5) for polygon in polygons]
    points = np.concatenate([np.zeros((0, 2)), *fifths])
    if not len(points):
        return 0, 0, np.zeros((0, 0), dtype=bool)
    left, top = (int(low) for low in (points.min(axis=0) // 5 - 1).clip(min=0))
    right, bottom = (int(high) for high in (points.max(axis=0) // 5 + 2).clip(max=size[::-1]))
    if left >= right or top >= bottom:
        return 0, 0, np.zeros((0, 0), dtype=bool)
    moved = [(polygon - (5 * left, 5 * top)).reshape(-1) for polygon in fifths]
    # So that it rounds to the same fifths again.
    moved = [np.where(polygon < 0, polygon - 0.75, polygon) / 5 for polygon in moved]
    runs = mask_util.merge(mask_util.frPyObjects([p.tolist() for p in moved], bottom - top, right - left))
    return top, left, mask_util.decode(runs).astype(bool)


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
