"""COCO's run lengths of masks that are stored in a window of the image.

COCO counts runs down the columns of the whole image. Computed from the window, they take time in proportion to the
window; pasting each mask into an array of the image's size takes milliseconds a mask at Cityscapes' size.
"""

import numpy as np
from pycocotools import mask as mask_util

from unified_seg.data.coco.masks import Rle, decode_rle
from unified_seg.structures.box_masks import BoxMasks


def encode_masks(masks: BoxMasks) -> list[Rle]:
    """Return COCO's compressed run lengths of each mask, equal to `pycocotools.mask.encode` of the full mask."""
    return [
        encode_window(mask.cpu().numpy(), rows.start, columns.start, masks.image_size)
        for (rows, columns), mask in masks.crops()
    ]


def encode_window(mask: np.ndarray, top: int, left: int, image_size: tuple[int, int]) -> Rle:
    """Return compressed run lengths, over the image, of one mask in a window.

    Args:
        mask: (h, w) bool.
        top, left: where the window starts in the image.
        image_size: (H, W).
    """
    height, width = image_size
    columns = np.zeros((mask.shape[1], mask.shape[0] + 2), dtype=np.int8)
    columns[:, 1:-1] = mask.T
    steps = np.diff(columns, axis=1)
    offset = left * height + top
    starts, ends = (column * height + row + offset for column, row in (np.nonzero(steps == 1), np.nonzero(steps == -1)))
    # A run that reaches the bottom of the image continues at the top of the next column.
    continued = starts[1:] == ends[:-1]
    starts, ends = starts[np.r_[True, ~continued][: len(starts)]], ends[np.r_[~continued, True][: len(ends)]]
    bounds = np.stack([starts, ends], axis=1).reshape(-1)
    counts = np.diff(bounds, prepend=0, append=height * width)
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    rle = mask_util.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return decode_rle(rle)


def decode_window(rle: Rle) -> tuple[slice, slice, np.ndarray]:
    """Return rows and columns of the tight box of a mask, and the (h, w) bool mask in it."""
    x, y, width, height = (int(v) for v in mask_util.toBbox(rle))
    rows, columns = slice(y, y + height), slice(x, x + width)
    return rows, columns, np.ascontiguousarray(mask_util.decode(rle)[rows, columns], dtype=bool)
