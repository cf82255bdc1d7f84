"""Instance masks cropped to their boxes: N small masks instead of N full images.

N = instances, (H, W) = the image that the boxes refer to.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.ops.boxes import find_tight_box

MASK_THRESHOLD = 0.5


class BoxMasks:
    """N binary masks, each stored inside its own window of an image.

    It can be a field of Detectron2's `Instances` (length, indexing, `to`) instead of an (N, H, W) tensor.

    Args:
        windows: (N, 4) int64, x0, y0, x1, y1 of each window in pixels, x1 and y1 exclusive, inside the image.
        masks: N bool tensors, the i-th of shape (y1 - y0, x1 - x0).
        image_size: (H, W).

    Raises:
        ValueError: windows and masks differ in number.
    """

    def __init__(self, windows: Tensor, masks: Sequence[Tensor], image_size: tuple[int, int]):
        if len(windows) != len(masks):
            raise ValueError(f"expected one window per mask, got {len(windows)} windows and {len(masks)} masks")
        self.windows = windows
        self.masks = list(masks)
        self.image_size = image_size

    @classmethod
    def from_soft(cls, soft: Tensor, boxes: Tensor, image_size: tuple[int, int]) -> "BoxMasks":
        """Paste a detector's soft masks, each inside its box only.

        Equal, pixel for pixel, to Detectron2's `paste_masks_in_image`: a pixel belongs to an instance if the soft
        mask, sampled bilinearly at the center of the pixel, is at least 0.5.

        Args:
            soft: (N, M, M) probabilities.
            boxes: (N, 4) float, x0, y0, x1, y1 in pixels of the image.
            image_size: (H, W).
        """
        height, width = image_size
        low = boxes[:, :2].floor() - 1
        high = boxes[:, 2:].ceil() + 1
        limit = boxes.new_tensor([width, height])
        windows = torch.cat([low.clamp(min=0).minimum(limit), high.clamp(min=0).minimum(limit)], dim=1).long()
        masks = []
        for mask, box, window in zip(soft, boxes, windows.tolist(), strict=True):
            x = _sampling_positions(window[0], window[2], box[0], box[2], soft)
            y = _sampling_positions(window[1], window[3], box[1], box[3], soft)
            grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
            sampled = F.grid_sample(mask[None, None].float(), grid[None], align_corners=False)[0, 0]
            masks.append(sampled >= MASK_THRESHOLD)
        return cls(windows, masks, image_size)

    @classmethod
    def from_full(cls, full: Tensor) -> "BoxMasks":
        """Crop (N, H, W) bool masks to their tight windows; the window of an empty mask has no pixels."""
        windows, masks = [], []
        for mask in full:
            x0, y0, x1, y1 = find_tight_box(mask)
            windows.append((x0, y0, x1, y1))
            masks.append(mask[y0:y1, x0:x1])
        shape = (int(full.shape[1]), int(full.shape[2]))
        return cls(torch.tensor(windows, dtype=torch.int64, device=full.device).reshape(-1, 4), masks, shape)

    @classmethod
    def cat(cls, parts: Sequence["BoxMasks"]) -> "BoxMasks":
        """Concatenate masks; Detectron2's `Instances.cat` calls it.

        Raises:
            ValueError: there is no part, or the parts have different image sizes.
        """
        sizes = {part.image_size for part in parts}
        if len(sizes) != 1:
            raise ValueError(f"parts must have one image size, got {sorted(sizes)}")
        windows = torch.cat([part.windows for part in parts])
        return cls(windows, [mask for part in parts for mask in part.masks], sizes.pop())

    def __len__(self) -> int:
        return len(self.masks)

    def __iter__(self) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
        """Yield ((rows, columns) of the window, mask inside it)."""
        for (x0, y0, x1, y1), mask in zip(self.windows.tolist(), self.masks):
            yield (slice(y0, y1), slice(x0, x1)), mask

    def __getitem__(self, item: int | slice | Tensor | np.ndarray | Sequence[int]) -> "BoxMasks":
        if isinstance(item, slice):
            indices = list(range(len(self)))[item]
        else:
            index = torch.as_tensor(item)
            if index.dtype == torch.bool:
                index = index.nonzero()[:, 0]
            indices = index.reshape(-1).tolist()
        windows = self.windows[torch.as_tensor(indices, dtype=torch.int64, device=self.windows.device)]
        return BoxMasks(windows, [self.masks[i] for i in indices], self.image_size)

    def to(self, *args: object, **kwargs: object) -> "BoxMasks":
        masks = [mask.to(*args, **kwargs) for mask in self.masks]  # type: ignore[call-overload]
        windows = self.windows.to(*args, **kwargs)  # type: ignore[call-overload]
        return BoxMasks(windows, masks, self.image_size)

    def areas(self) -> Tensor:
        """Return the number of pixels of each mask: (N,) int64."""
        return torch.stack([m.sum() for m in self.masks]) if self.masks else self.windows.new_zeros(0)

    def full(self) -> Tensor:
        """Return the masks as a tensor (N, H, W) bool."""
        result = torch.zeros((len(self), *self.image_size), dtype=torch.bool, device=self.windows.device)
        for canvas, (window, mask) in zip(result, self):
            canvas[window] = mask
        return result


def _sampling_positions(start: int, stop: int, low: Tensor, high: Tensor, like: Tensor) -> Tensor:
    """Return the centers of pixels start .. stop-1 in the coordinates of `grid_sample`: the box spans -1 to 1."""
    # The box stays a tensor: CUDA divides by a Python number through its reciprocal, which rounds differently.
    centers = torch.arange(start, stop, device=like.device, dtype=torch.float32) + 0.5
    return (centers - low) / (high - low) * 2 - 1
