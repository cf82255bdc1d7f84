"""Soft instance masks in their boxes: how likely each pixel belongs to the instance, in 8 bits.

N = instances, (H, W) = the image that the windows refer to.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unified_seg.ops.boxes import find_paste_windows
from unified_seg.ops.levels import LEVELS, to_levels
from unified_seg.structures.box_masks import BoxMasks, SharedMask
from unified_seg.structures.mask_maps import MaskStack, sample_stacks, sample_window


class SoftMasks:
    """N masks of probabilities, each stored inside its own window of an image.

    Args:
        windows: (N, 4) int64, x0, y0, x1, y1 of each window in pixels, x1 and y1 exclusive, inside the image; on the
            CPU.
        planes: stacks (P, h, w) uint8 of levels, each window in the upper left corner of a plane.
        places: N pairs of a stack's number and a plane of it.
        cells: (N,) float32, on the CPU: the side in pixels of what the mask resolves.
        image_size: (H, W).
    """

    def __init__(
        self,
        windows: Tensor,
        planes: Sequence[Tensor],
        places: Sequence[tuple[int, int]],
        cells: Tensor,
        image_size: tuple[int, int],
    ):
        self.windows, self.cells, self.image_size = windows, cells, image_size
        self._planes, self._places = planes, list(places)
        self.device = planes[0].device if planes else windows.device

    @classmethod
    def from_soft(cls, soft: Tensor, boxes: Tensor, image_size: tuple[int, int]) -> "SoftMasks":
        """Paste a detector's soft masks, as `BoxMasks.from_soft` does, whose masks are the levels from 128 on.

        Args:
            soft: (N, M, M') probabilities.
            boxes: (N, 4) float, x0, y0, x1, y1 in pixels of the image.
            image_size: (H, W).
        """
        windows = find_paste_windows(boxes, image_size)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1).clamp(min=0).cpu().float()
        cells = (areas / max(soft.shape[-2] * soft.shape[-1], 1)).sqrt()
        if soft.device.type == "cpu":
            each = zip(soft, boxes, windows.tolist(), strict=True)
            planes = [to_levels(sample_window(mask, box, window))[None] for mask, box, window in each]
            return cls(windows, planes, [(index, 0) for index in range(len(planes))], cells, image_size)
        planes, places = [], {}
        for group, sampled in sample_stacks(soft, boxes, windows):
            places.update({position: (len(planes), index) for index, position in enumerate(group)})
            planes.append(to_levels(sampled))
        return cls(windows, planes, [places[i] for i in range(len(windows))], cells, image_size)

    @classmethod
    def from_masks(cls, masks: BoxMasks) -> "SoftMasks":
        """Return masks that are certain, and resolve single pixels."""
        planes = [mask[None].byte() * (LEVELS - 1) for mask in masks.masks]
        places = [(index, 0) for index in range(len(planes))]
        return cls(masks.windows, planes, places, torch.ones(len(planes)), masks.image_size)

    @classmethod
    def cat(cls, parts: Sequence["SoftMasks"], image_size: tuple[int, int]) -> "SoftMasks":
        """Concatenate masks of one image."""
        planes: list[Tensor] = []
        places: list[tuple[int, int]] = []
        for part in parts:
            places += [(len(planes) + stack, plane) for stack, plane in part._places]
            planes += part._planes
        windows = torch.cat([torch.zeros(0, 4, dtype=torch.int64), *(part.windows for part in parts)])
        return cls(windows, planes, places, torch.cat([torch.ones(0), *(part.cells for part in parts)]), image_size)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, item: slice | Tensor | Sequence[int]) -> "SoftMasks":
        index = torch.arange(len(self))[item] if isinstance(item, slice) else torch.as_tensor(item).cpu()
        indices = (index.nonzero() if index.dtype == torch.bool else index.long()).reshape(-1)
        places = [self._places[index] for index in indices.tolist()]
        return SoftMasks(self.windows[indices], self._planes, places, self.cells[indices], self.image_size)

    def to(self, *args: object, **kwargs: object) -> "SoftMasks":
        """Move the masks; the arguments are those of `Tensor.to`."""
        planes = [stack.to(*args, **kwargs) for stack in self._planes]  # type: ignore[call-overload]
        return SoftMasks(self.windows, planes, self._places, self.cells, self.image_size)

    def cpu(self) -> "SoftMasks":
        return self.to("cpu")

    def binarize(self) -> BoxMasks:
        """Return the masks of probabilities of a half or more; equal to `BoxMasks.from_soft`."""
        stacks = [MaskStack(stack >= LEVELS // 2) for stack in self._planes]
        masks: list[Tensor | SharedMask] = []
        for (stack, plane), (x0, y0, x1, y1) in zip(self._places, self.windows.tolist()):
            if self.device.type == "cpu":
                masks.append(stacks[stack].planes[plane, : y1 - y0, : x1 - x0])
            else:
                masks.append(SharedMask(stacks[stack], plane))
        return BoxMasks(self.windows, masks, self.image_size, self.device)

    def levels(self, index: int) -> Tensor:
        """Return the levels of one mask, of the size of its window."""
        stack, plane = self._places[index]
        x0, y0, x1, y1 = self.windows[index].tolist()
        return self._planes[stack][plane, : y1 - y0, : x1 - x0]

    def by_stack(self) -> list[tuple[Tensor, list[int], list[int]]]:
        """Return each stack that has masks, with the positions of its masks here, and their planes in the stack."""
        found: dict[int, tuple[Tensor, list[int], list[int]]] = {}
        for position, (stack, plane) in enumerate(self._places):
            _, positions, planes = found.setdefault(stack, (self._planes[stack], [], []))
            positions.append(position)
            planes.append(plane)
        return list(found.values())
