"""Checks of what every fusion is given."""

import math

import torch
from torch import Tensor

from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable


def check_inputs(labels: Tensor, masks: BoxMasks, thing_ids: Tensor, scores: Tensor, table: ClassTable) -> None:
    """Check inputs that are invalid for any fusion.

    Args:
        labels: (H, W) integer semantic ids, or the table's ignore label.
        masks: N masks.
        thing_ids: (N,) int64.
        scores: (N,).
        table: the classes.

    Raises:
        ValueError: an input has another shape or type, a mask does not fit its window, a score is not finite, or an
            id is not in the table.
    """
    check_shapes(labels, masks, thing_ids, scores)
    check_values(thing_ids.tolist(), scores.tolist(), table)
    check_labels(labels, table)


def check_shapes(labels: Tensor, masks: BoxMasks, thing_ids: Tensor, scores: Tensor) -> None:
    """Do the part of `check_inputs` that reads no values of tensors."""
    if labels.dim() != 2 or labels.is_floating_point() or not labels.numel():
        raise ValueError(f"labels: expected a non-empty map (H, W) of integers, got {labels.dtype} {_shape(labels)}")
    if masks.image_size != _shape(labels):
        raise ValueError(f"masks: expected the image size of labels {_shape(labels)}, got {masks.image_size}")
    if not len(masks) == len(thing_ids) == len(scores):
        raise ValueError(
            f"masks, thing_ids and scores must have one entry per instance, got {len(masks)}, {len(thing_ids)} and "
            f"{len(scores)}"
        )
    _check_windows(masks)


def check_values(thing_ids: list[int], scores: list[float], table: ClassTable) -> None:
    """Do the part of `check_inputs` that reads ids and scores."""
    if invalid := [score for score in scores if not math.isfinite(score)]:
        raise ValueError(f"scores must be finite, got {invalid}")
    if outside := sorted({i for i in thing_ids if not 0 <= i < table.num_things}):
        raise ValueError(f"thing_ids: {outside} are not in the class table, which has {table.num_things} things")


def _check_windows(masks: BoxMasks) -> None:
    # Compiled loops do not check bounds.
    height, width = masks.image_size
    for index, ((x0, y0, x1, y1), shape) in enumerate(zip(masks.windows.tolist(), masks.shapes())):
        if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height and shape == (y1 - y0, x1 - x0)):
            raise ValueError(
                f"masks: mask {index} of {shape} (H, W) does not fit the window x {x0} .. {x1}, y {y0} .. {y1} "
                f"in an image of {height}x{width}"
            )


def check_labels(labels: Tensor, table: ClassTable) -> None:
    """Do the part of `check_inputs` that reads the labels."""
    lowest, highest = (int(bound) for bound in torch.aminmax(labels))
    if lowest >= 0 and highest < table.num_semantic:
        return
    outside = set(torch.unique(labels).tolist()) - {*range(table.num_semantic), table.ignore_label}
    if outside:
        raise ValueError(
            f"labels: {sorted(outside)} are neither semantic ids (0 .. {table.num_semantic - 1}) nor the ignore label "
            f"{table.ignore_label}"
        )


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
