"""Soft masks at the pixels of an image, each inside the window of its box.

M = masks, S = the side of a soft mask, (H, W) = the image.
"""

import numpy as np

from unified_seg_arrays.compiled import compiled
from unified_seg_arrays.fusion.steps import WindowMasks
from unified_seg_arrays.levels import LEVELS


def paste_levels(soft: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int]) -> WindowMasks:
    """Sample soft masks bilinearly at the centers of pixels, as Detectron2 pastes masks, in 8 bits.

    Args:
        soft: (M, S, S) float32 probabilities.
        boxes: (M, 4) float32, x0, y0, x1, y1 in pixels of the image.
        image_size: (H, W).
    """
    limit = np.array(image_size[::-1], dtype=boxes.dtype)
    low = np.clip(np.floor(boxes[:, :2]) - 1, 0, limit)
    high = np.clip(np.ceil(boxes[:, 2:]) + 1, 0, limit)
    windows = np.concatenate([low, high], axis=1).astype(np.int64)
    planes = []
    for mask, box, (x0, y0, x1, y1) in zip(np.ascontiguousarray(soft, dtype=np.float32), boxes, windows.tolist()):
        plane = np.empty((y1 - y0, x1 - x0), dtype=np.uint8)
        _sample(mask, _locate(x0, x1, box[0], box[2], len(mask)), _locate(y0, y1, box[1], box[3], len(mask)), plane)
        planes.append(plane)
    return WindowMasks(windows, planes)


def binarize(levels: WindowMasks) -> WindowMasks:
    """Return the masks of probabilities of a half or more."""
    return WindowMasks(levels.windows, [plane >= LEVELS // 2 for plane in levels.planes])


def _locate(start: int, stop: int, low: np.float32, high: np.float32, side: int) -> np.ndarray:
    """Return the positions of the centers of pixels in a mask of this side, whose own centers are at 0, 1, ..."""
    pixels = np.arange(start, stop, dtype=np.float32)
    relative = (pixels + np.float32(0.5) - low) / (high - low) * np.float32(2) - np.float32(1)
    return (relative + np.float32(1)) * np.float32(side / 2) - np.float32(0.5)


@compiled
def _sample(mask: np.ndarray, x: np.ndarray, y: np.ndarray, levels: np.ndarray) -> None:
    """Write the interpolated level at each pair of positions; outside, the mask is 0."""
    side = len(mask)
    one, scale = np.float32(1), np.float32(LEVELS)
    for i in range(len(y)):
        top = int(np.floor(y[i]))
        lower = y[i] - np.float32(top)
        for j in range(len(x)):
            left = int(np.floor(x[j]))
            right = x[j] - np.float32(left)
            value = np.float32(0)
            if 0 <= top < side:
                if 0 <= left < side:
                    value += mask[top, left] * ((one - right) * (one - lower))
                if 0 <= left + 1 < side:
                    value += mask[top, left + 1] * (right * (one - lower))
            if 0 <= top + 1 < side:
                if 0 <= left < side:
                    value += mask[top + 1, left] * ((one - right) * lower)
                if 0 <= left + 1 < side:
                    value += mask[top + 1, left + 1] * (right * lower)
            levels[i, j] = min(int(value * scale), LEVELS - 1)
