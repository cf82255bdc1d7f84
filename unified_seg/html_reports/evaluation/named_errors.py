"""The errors of a prediction for one image, each with a name and the pixels to mark.

(H, W) = the image, G = objects of the ground truth, P = predicted objects.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.structures import Boxes, Instances, pairwise_ioa, pairwise_iou
from pycocotools import mask as mask_util

from unified_seg.data.coco.rle import encode_masks
from unified_seg.evaluation.base import PanopticGroundTruth
from unified_seg.evaluation.model_outputs import find_segment_class, read_panoptic
from unified_seg.evaluation.panoptic import pair_record
from unified_seg.ops.metrics.panoptic_quality import SegmentPairs
from unified_seg.ops.metrics.segment_errors import (
    INEXACT,
    KINDS,
    MERGED,
    MISSED,
    MISTAKE,
    SPLIT,
    WRONG_CLASS,
    SegmentError,
    find_segment_errors,
)
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.colors import Color

#: A color for each kind of error, of Okabe and Ito (2008), which most color-blind people can tell apart.
KIND_COLORS: dict[str, Color] = {
    WRONG_CLASS: (230, 159, 0),
    MERGED: (204, 121, 167),
    SPLIT: (86, 180, 233),
    INEXACT: (0, 158, 115),
    MISSED: (213, 94, 0),
    MISTAKE: (0, 114, 178),
}
#: What the kinds mean, for readers.
KIND_MEANINGS = {
    WRONG_CLASS: "a segment has the right place and another class",
    MERGED: "one predicted segment covers most of several objects",
    SPLIT: "several predicted segments lie in one object",
    INEXACT: "the class is right, but the segments overlap by less than half (IoU 0.1 to 0.5)",
    MISSED: "an object or region without any of the above",
    MISTAKE: "a predicted segment where nothing of its class is",
}


class NamedError(NamedTuple):
    """An error of an image.

    Attributes:
        kind: of KIND_COLORS, or a pair of classes of a semantic map.
        text: what is wrong, for readers.
        area: pixels of the segments that are missed or wrong.
        draw: returns the pixels to mark, (H, W) bool; masks of all errors of a large image would fill the memory.
    """

    kind: str
    text: str
    area: int
    draw: Callable[[], np.ndarray]


def name_panoptic_errors(record: dict[str, Any], output: Mapping[str, Any], table: ClassTable) -> list[NamedError]:
    """Return the errors of a panoptic map, those of most pixels first; see `find_segment_errors`.

    Raises:
        DataError, ValueError: the ground truth or the prediction can't be used.
    """
    gt_ids, segments = PanopticGroundTruth(table).read(record)
    ids, infos = read_panoptic(record, output)
    pairs = pair_record(record, output, table, gt_ids, segments)
    names = [s.cls.name for s in segments]
    predicted_names = [find_segment_class(record, info, table).name for info in infos]
    return _name_errors(
        pairs, names, predicted_names, lambda g: gt_ids == segments[g].id, lambda p: ids == infos[p]["id"]
    )


def name_instance_errors(ground_truth: Instances, predicted: Instances, table: ClassTable) -> list[NamedError]:
    """Return the errors of instances, those of most pixels first, as those of segments are.

    By falling score, a prediction is matched to the object of its class with the highest intersection over union, of at
    least 1/2. The second one of an object is there by mistake. As in COCO's evaluation, one that at least half is on a
    crowd of its class is no error.

    Args:
        ground_truth: in the form of a model's outputs, see `read_ground_truth`.
        predicted: of the model, see `read_instances`, without those of low scores.
        table: the classes.
    """
    with_masks = ground_truth.has("pred_masks") and predicted.has("pred_masks")
    objects = ground_truth[~ground_truth.is_crowd] if ground_truth.has("is_crowd") else ground_truth
    pairs = _pair_instances(objects, predicted, with_masks)
    if len(objects) < len(ground_truth):
        on_crowd = _find_on_crowds(ground_truth[ground_truth.is_crowd], predicted, with_masks)
        predicted = predicted[torch.from_numpy(~(pairs.wrong & on_crowd))]
        pairs = _pair_instances(objects, predicted, with_masks)
    names, predicted_names = (
        [table.things[i].name for i in each.pred_classes.tolist()] for each in (objects, predicted)
    )
    gt_mask, predicted_mask = (partial(_draw_instance, each, with_masks) for each in (objects, predicted))
    return _name_errors(pairs, names, predicted_names, gt_mask, predicted_mask)


def name_semantic_errors(ground_truth: np.ndarray, predicted: np.ndarray, table: ClassTable) -> list[NamedError]:
    """Return the confused pairs of classes of a semantic map, those of most pixels first.

    Args:
        ground_truth, predicted: (H, W) semantic ids.
        table: the classes, with the ignore label of the ground truth.
    """
    labeled = ground_truth != table.ignore_label
    wrong = labeled & (ground_truth != predicted)
    names = table.semantic_names
    numbers, pixels = np.unique(ground_truth[wrong] * np.int64(len(names)) + predicted[wrong], return_counts=True)
    errors = []
    for number, area in zip(numbers.tolist(), pixels.tolist()):
        true, found = divmod(number, len(names))
        kind = f"{names[true]} taken for {names[found]}"
        text = f"{kind}: {100 * area / labeled.sum():.1f} % of the labeled pixels"
        draw = partial(_mark_confusion, ground_truth, predicted, true, found)
        errors.append(NamedError(kind, text, area, draw))
    return sorted(errors, key=lambda error: -error.area)


def _mark_confusion(ground_truth: np.ndarray, predicted: np.ndarray, true: int, found: int) -> np.ndarray:
    return (ground_truth == true) & (predicted == found)


def count_kinds(errors: Sequence[NamedError]) -> str:
    """Return the numbers of errors by kind, such as "2 missed, 1 merged"."""
    numbers = Counter(error.kind for error in errors)
    return ", ".join(f"{numbers[kind]} {kind}" for kind in KINDS if numbers[kind])


def _name_errors(
    pairs: SegmentPairs,
    names: Sequence[str],
    predicted_names: Sequence[str],
    gt_mask: Callable[[int], np.ndarray],
    predicted_mask: Callable[[int], np.ndarray],
) -> list[NamedError]:
    named = []
    for error in find_segment_errors(pairs):
        masks = [partial(gt_mask, g) for g in error.missed] or [partial(predicted_mask, p) for p in error.wrong]
        area = int(pairs.gt_areas[list(error.missed)].sum() or pairs.predicted_areas[list(error.wrong)].sum())
        if error.kind == INEXACT and error.cause is not None:
            masks.append(partial(predicted_mask, error.cause))
        text = f"{error.kind}: {_describe(error, pairs, names, predicted_names)}"
        named.append(NamedError(error.kind, text, area, partial(_join_masks, masks)))
    return sorted(named, key=lambda each: -each.area)


def _join_masks(masks: Sequence[Callable[[], np.ndarray]]) -> np.ndarray:
    return np.logical_or.reduce([draw() for draw in masks])


def _describe(error: SegmentError, pairs: SegmentPairs, names: Sequence[str], predicted_names: Sequence[str]) -> str:
    missed = [names[g] for g in error.missed]
    cause = error.cause
    if error.kind == WRONG_CLASS and cause is not None:
        return f"{missed[0]} taken for {predicted_names[cause]}"
    if error.kind == MERGED:
        return f"{' and '.join(missed)} with another {missed[0]}" if len(missed) == 1 else " and ".join(missed)
    if error.kind == SPLIT:
        return f"{missed[0]} in {len(error.wrong)} parts"
    if error.kind == INEXACT and cause is not None:
        return f"{missed[0]}, IoU {pairs.iou[error.missed[0], cause]:.2f}"
    return missed[0] if missed else predicted_names[error.wrong[0]]


def _pair_instances(objects: Instances, predicted: Instances, with_masks: bool) -> SegmentPairs:
    """Overlap and match the instances of an image."""
    if with_masks:
        rles = [encode_masks(each.pred_masks) for each in (objects, predicted)]
        areas = [np.asarray(mask_util.area(each), dtype=np.int64).reshape(-1) for each in rles]
        shape = (len(objects), len(predicted))
        found = mask_util.iou(rles[1], rles[0], [0] * shape[0]) if all(shape) else ()
        iou = np.asarray(found, dtype=np.float64).reshape(shape[::-1]).T
    else:
        boxes = [Boxes(each.pred_boxes.tensor) for each in (objects, predicted)]
        areas = [each.area().long().numpy() for each in boxes]
        iou = pairwise_iou(*boxes).double().numpy()
    classes = [each.pred_classes.numpy() for each in (objects, predicted)]
    matched = np.zeros(iou.shape, dtype=bool)
    same_class = np.equal.outer(*classes)
    for p in np.argsort(-predicted.scores.numpy(), kind="stable").tolist():
        candidates = np.where(same_class[:, p] & ~matched.any(axis=1), iou[:, p], 0)
        if len(candidates) and candidates.max() >= 0.5:
            matched[candidates.argmax(), p] = True
    # iou = common / (one area + the other - common)
    common = np.rint(iou / (1 + iou) * (areas[0][:, None] + areas[1])).astype(np.int64)
    return SegmentPairs(
        gt_classes=classes[0],
        predicted_classes=classes[1],
        gt_areas=areas[0],
        predicted_areas=areas[1],
        common=common,
        iou=iou,
        matched=matched,
        missed=matched.sum(axis=1) == 0,
        wrong=matched.sum(axis=0) == 0,
    )


def _find_on_crowds(crowds: Instances, predicted: Instances, with_masks: bool) -> np.ndarray:
    """Return (P,) bool: whether at least half of a prediction is on a crowd of its class."""
    if with_masks:
        rles = [encode_masks(each.pred_masks) for each in (crowds, predicted)]
        found = mask_util.iou(rles[1], rles[0], [1] * len(crowds)) if len(predicted) else ()
        share = np.asarray(found, dtype=np.float64).reshape(len(predicted), len(crowds)).T
    else:
        share = pairwise_ioa(*(Boxes(each.pred_boxes.tensor) for each in (crowds, predicted))).double().numpy()
    same_class = np.equal.outer(crowds.pred_classes.numpy(), predicted.pred_classes.numpy())
    on_crowd: np.ndarray = (same_class & (share >= 0.5)).any(axis=0)
    return on_crowd


def _draw_instance(instances: Instances, with_masks: bool, index: int) -> np.ndarray:
    """Return (H, W) bool: the mask of an instance, or its box."""
    if with_masks:
        return instances.pred_masks[[index]].full()[0].cpu().numpy()
    box = np.zeros(instances.image_size, dtype=bool)
    x0, y0, x1, y1 = instances.pred_boxes.tensor[index].round().int().tolist()
    box[y0:y1, x0:x1] = True
    return box
