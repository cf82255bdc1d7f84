"""Masks of an image that share one tensor, from which each mask is cut when it is read.

On an accelerator every operation on a small mask costs as much as one on all of them, so `BoxMasks` keeps its masks
there in these maps.

(H, W) = the image, window = x0, y0, x1, y1 in pixels, x1 and y1 exclusive.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.ops.devices import upload

MASK_THRESHOLD = 0.5
# Values of the planes of a stack, so that a large mask does not widen those of many small ones: 8 MB.
STACK_VALUES = 2**23

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class MaskStack:
    """Masks that may overlap, one in the upper left corner of each plane.

    Attributes:
        planes: (P, h, w) bool, False beside the masks; the last row and the last column are False everywhere.
    """

    planes: Tensor

    @classmethod
    def from_masks(cls, masks: Sequence[Tensor]) -> "MaskStack":
        """Stack masks (h_i, w_i) bool, on their device."""
        height, width = (max(mask.shape[dim] for mask in masks) + 1 for dim in (0, 1))
        planes = masks[0].new_zeros((len(masks), height, width))
        for plane, mask in zip(planes, masks):
            plane[: mask.shape[0], : mask.shape[1]] = mask
        return cls(planes)

    @property
    def device(self) -> torch.device:
        return self.planes.device

    def to(self, device: torch.device) -> "MaskStack":
        return MaskStack(self.planes.to(device, non_blocking=True))

    def cut(self, index: int, window: Window) -> Tensor:
        """Return the mask of a plane, (y1 - y0, x1 - x0)."""
        x0, y0, x1, y1 = window
        return self.planes[index, : y1 - y0, : x1 - x0]

    def paste(self, indices: Sequence[int], windows: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Return the masks of some planes as (N, H, W) bool; `windows` (N, 4) is on the CPU."""
        device = self.device
        places = upload(torch.cat([torch.tensor(indices)[:, None], windows[:, :2]], dim=1).T[..., None, None], device)
        index, left, top = places.unbind(0)
        # All positions outside the window read the last row or column.
        columns = (torch.arange(image_size[1], device=device) - left).clamp_(-1, self.planes.shape[2] - 1)
        rows = (torch.arange(image_size[0], device=device)[:, None] - top).clamp_(-1, self.planes.shape[1] - 1)
        return self.planes[index, rows, columns]


@dataclass(frozen=True)
class OwnerMap:
    """Masks that do not overlap: mask i consists of the pixels with the value i.

    Attributes:
        owners: (H, W) integer.
    """

    owners: Tensor

    @property
    def device(self) -> torch.device:
        return self.owners.device

    def to(self, device: torch.device) -> "OwnerMap":
        return OwnerMap(self.owners.to(device, non_blocking=True))

    def cut(self, index: int, window: Window) -> Tensor:
        """Return the mask `index` in a window that contains it, (y1 - y0, x1 - x0)."""
        x0, y0, x1, y1 = window
        return self.owners[y0:y1, x0:x1] == index

    def paste(self, indices: Sequence[int], windows: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Return some masks as (N, H, W) bool; their windows contain them, so `windows` is not read."""
        missing = [size - side for side, size in zip(self.owners.shape, image_size)]
        owners = F.pad(self.owners, (0, missing[1], 0, missing[0])) if any(missing) else self.owners
        return owners == upload(torch.tensor(indices)[:, None, None], self.device)


def sample_stacks(soft: Tensor, boxes: Tensor, windows: Tensor) -> Iterator[tuple[list[int], Tensor]]:
    """Yield groups of soft masks of similar size, and what `sample_planes` returns of them."""
    for group in group_by_size(windows):
        if len(group) < len(soft):
            chosen = upload(group, soft.device)
            yield group, sample_planes(soft[chosen], boxes[chosen], windows[group])
        else:
            yield group, sample_planes(soft, boxes, windows)


def sample_planes(soft: Tensor, boxes: Tensor, windows: Tensor) -> Tensor:
    """Sample soft masks at the centers of pixels, each in its window of the image, all at once.

    Args:
        soft: (N, M, M) probabilities.
        boxes: (N, 4) float, x0, y0, x1, y1 of the masks in pixels.
        windows: (N, 4) int64, on the CPU.

    Returns:
        (N, h, w) float32: each window in the upper left corner of its plane, 0 beside it; the last row and the last
        column are 0 everywhere.
    """
    sizes = windows[:, 2:] - windows[:, :2]
    width, height = (int(side) + 1 for side in sizes.amax(dim=0))
    left, top, columns, rows = upload(torch.cat([windows[:, :2], sizes], dim=1), soft.device).unbind(1)
    x0, y0, x1, y1 = boxes.unbind(1)
    x = sample_positions(left[:, None] + torch.arange(width, device=soft.device), x0[:, None], x1[:, None])
    y = sample_positions(top[:, None] + torch.arange(height, device=soft.device), y0[:, None], y1[:, None])
    shape = (len(soft), height, width)
    grid = torch.stack([x[:, None].expand(shape), y[:, :, None].expand(shape)], dim=-1)
    planes = F.grid_sample(soft[:, None].float(), grid, align_corners=False)[:, 0]
    inside = (torch.arange(width, device=soft.device) < columns[:, None])[:, None]
    inside = inside & (torch.arange(height, device=soft.device) < rows[:, None])[:, :, None]
    return planes.masked_fill_(~inside, 0)


def sample_window(soft: Tensor, box: Tensor, window: Sequence[int]) -> Tensor:
    """Sample one soft mask (M, M) in its window: (y1 - y0, x1 - x0) float32, on the CPU."""
    x = sample_positions(torch.arange(window[0], window[2], dtype=torch.float32), box[0], box[2])
    y = sample_positions(torch.arange(window[1], window[3], dtype=torch.float32), box[1], box[3])
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
    return F.grid_sample(soft[None, None].float(), grid[None], align_corners=False)[0, 0]


def sample_positions(pixels: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the centers of pixels in the coordinates of `grid_sample`, in which a box from low to high is -1 to 1."""
    # The box stays a tensor: CUDA divides by a Python number through its reciprocal, which rounds differently.
    return (pixels + 0.5 - low) / (high - low) * 2 - 1


def group_by_size(windows: Tensor) -> Iterator[list[int]]:
    """Yield the indices of windows (N, 4) in groups for one stack each: of similar size, STACK_VALUES together."""
    sizes = (windows[:, 2:] - windows[:, :2] + 1).tolist()
    group: list[int] = []
    width = height = 0
    for index in sorted(range(len(sizes)), key=lambda i: sizes[i]):
        width, height = max(width, sizes[index][0]), max(height, sizes[index][1])
        if group and (len(group) + 1) * width * height > STACK_VALUES:
            yield sorted(group)
            group, (width, height) = [], sizes[index]
        group.append(index)
    if group:
        yield sorted(group)
