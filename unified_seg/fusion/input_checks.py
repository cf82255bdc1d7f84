"""Checks of what every fusion is given.

They raise ValueError: an input has another shape or type, a mask does not fit its window, or an id is not in the class
table. `select_candidates` checks the scores and the thing ids.

(H, W) = the image, N = masks.
"""

import torch
from torch import Tensor

from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable


def check_shapes(labels: Tensor, masks: BoxMasks, thing_ids: Tensor, scores: Tensor) -> None:
    """Check what can be checked without reading values of tensors, for which an accelerator would be waited for."""
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
    """Check that labels (H, W) are semantic ids, or the ignore label."""
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
