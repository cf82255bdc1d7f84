"""Boxes of masks; `id_maps.measure_segments` finds those of all ids in a map in one pass."""

from torch import Tensor


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
