"""Ground-truth masks of instances as few maps, from which the masks are made where they are used."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.layers import ROIAlign
from detectron2.structures import BitMasks
from torch import Tensor

from unified_seg.ops.devices import upload
from unified_seg_arrays.compiled import compiled


class SharedMasks(BitMasks):
    """Detectron2's BitMasks, stored as maps of the masks' numbers: masks without a common pixel are in one map.

    Mask R-CNN samples up to 128 proposals an image, each with the mask of one of a few instances: BitMasks copies a
    mask of the image's size for each, and converts the copies to floats. Here proposals refer to masks by their index.
    From process to process and from CPU to GPU go the maps, usually one for all instances of an image.

    Args:
        maps: (L, H, W) integers, 0 where there is no mask.
        places: (M, 2) int64, the map and the number of each mask.
        index: (N,) int64, the mask of each instance; None: instance i has mask i.
    """

    def __init__(self, maps: Tensor, places: Tensor, index: Tensor | None = None):
        self.maps = maps
        self.places = places
        self.index = index
        self.image_size = maps.shape[1:]

    @classmethod
    def from_windows(cls, windows: Sequence[tuple[int, int, np.ndarray]], image_size: tuple[int, int]) -> "SharedMasks":
        """Return the masks that are stored in windows of the image.

        Args:
            windows: the top row, the left column and the mask (h, w) bool of each window.
            image_size: (H, W).
        """
        dtype = np.uint8 if len(windows) < 256 else np.int32
        maps: list[np.ndarray] = []
        places = []
        for number, (top, left, mask) in enumerate(windows, 1):
            area = (slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1]))
            parts = (drawn[area] for drawn in maps)
            layer = next((i for i, part in enumerate(parts) if _draw_if_free(part, mask, number)), len(maps))
            if layer == len(maps):
                maps.append(np.zeros(image_size, dtype=dtype))
                _draw_if_free(maps[layer][area], mask, number)
            places.append((layer, number))
        stacked = np.stack(maps) if len(maps) > 1 else np.array(maps).reshape(-1, *image_size)
        return cls(torch.from_numpy(stacked), torch.tensor(places, dtype=torch.int64).reshape(-1, 2))

    @property
    def masks(self) -> Tensor:
        """(M, H, W) bool."""
        return self.maps[self.places[:, 0]] == self.places[:, 1, None, None]

    @property
    def tensor(self) -> Tensor:  # type: ignore[override]
        """(N, H, W) bool."""
        return self.masks if self.index is None else self.masks[self.index]

    def to(self, device: torch.device | str) -> "SharedMasks":  # type: ignore[override]
        index = None if self.index is None else upload(self.index, device)
        return SharedMasks(upload(self.maps, device), upload(self.places, device), index)

    @property
    def device(self) -> torch.device:
        return self.maps.device

    def __len__(self) -> int:
        return len(self.places if self.index is None else self.index)

    def __getitem__(self, item: Any) -> "SharedMasks":
        return SharedMasks(self.maps, self.places, self._get_index()[item].reshape(-1))

    def __iter__(self) -> Any:
        return iter(self.tensor)

    def crop_and_resize(self, boxes: Tensor, mask_size: int) -> Tensor:
        """Return (N, mask_size, mask_size) bool, equal to what BitMasks returns; see there."""
        assert len(boxes) == len(self), f"{len(boxes)} boxes of {len(self)} masks"
        rois = torch.cat([self._get_index()[:, None].to(boxes.dtype), boxes.to(self.device)], dim=1)
        align = ROIAlign((mask_size, mask_size), 1.0, 0, aligned=True)
        return align(self.masks[:, None].float(), rois).squeeze(1) >= 0.5

    def _get_index(self) -> Tensor:
        return torch.arange(len(self.places), device=self.device) if self.index is None else self.index


@compiled
def _draw_if_free(drawn: np.ndarray, mask: np.ndarray, number: int) -> bool:
    """Write a number where the mask is, unless other numbers are there; return whether it was written."""
    height, width = mask.shape
    # Without branches in the inner loops several pixels are computed at once.
    for y in range(height):
        is_taken = False
        for x in range(width):
            is_taken |= mask[y, x] & (drawn[y, x] != 0)
        if is_taken:
            return False
    for y in range(height):
        for x in range(width):
            drawn[y, x] |= number * mask[y, x]
    return True
