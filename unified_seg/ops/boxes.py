"""Boxes of masks; `id_maps.measure_segments` finds those of all ids in a map in one pass."""

import torch
from torch import Tensor

from unified_seg.ops.devices import upload


def find_tight_box(mask: Tensor) -> tuple[int, int, int, int]:
    """Return the smallest box that contains all pixels of a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        x0, y0, x1, y1 in pixels, x1 and y1 exclusive; zeros for a mask without pixels.
    """
    rows, columns = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def find_paste_windows(boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Return the windows that contain all pixels of masks that are pasted into boxes.

    Args:
        boxes: (N, 4) float, x0, y0, x1, y1 in pixels.
        image_size: (H, W).

    Returns:
        (N, 4) int64, x0, y0, x1, y1 in pixels, x1 and y1 exclusive, inside the image; on the CPU.
    """
    low = boxes[:, :2].floor() - 1
    high = boxes[:, 2:].ceil() + 1
    limit = upload(torch.tensor(image_size[::-1], dtype=boxes.dtype), boxes.device)
    return torch.cat([low.clamp(min=0).minimum(limit), high.clamp(min=0).minimum(limit)], dim=1).long().cpu()
