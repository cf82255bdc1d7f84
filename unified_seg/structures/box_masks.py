"""Instance masks cropped to their boxes: N small masks instead of N full images.

N = instances, (H, W) = the image that the boxes refer to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unified_seg.ops.boxes import find_paste_windows, find_tight_box
from unified_seg.ops.devices import upload
from unified_seg.structures.mask_maps import (
    MASK_THRESHOLD,
    MaskStack,
    OwnerMap,
    Window,
    group_by_size,
    sample_stacks,
    sample_window,
)


@dataclass(frozen=True)
class SharedMask:
    """A mask of a map; `index` is its plane of a MaskStack, or its value in an OwnerMap."""

    map: MaskStack | OwnerMap
    index: int


class BoxMasks:
    """N binary masks, each stored inside its own window of an image.

    It can be a field of Detectron2's `Instances` in place of an (N, H, W) tensor: length, indexing, `to`, `cat`,
    iteration over the masks at full size, and `numpy.asarray` work as for one.

    Args:
        windows: (N, 4) int64, x0, y0, x1, y1 of each window in pixels, x1 and y1 exclusive, inside the image; kept on
            the CPU.
        masks: N bool tensors, the i-th of shape (y1 - y0, x1 - x0), or masks of a map with this window.
        image_size: (H, W).
        device: the device of the masks, which is needed if there may be none; default: that of the first mask.

    Raises:
        ValueError: windows and masks differ in number.
    """

    def __init__(
        self,
        windows: Tensor,
        masks: Sequence[Tensor | SharedMask],
        image_size: tuple[int, int],
        device: torch.device | None = None,
    ):
        if len(windows) != len(masks):
            raise ValueError(f"expected one window per mask, got {len(windows)} windows and {len(masks)} masks")
        self.device = device or (_get_device(masks[0]) if masks else windows.device)
        self.windows = windows.cpu()
        self._masks = list(masks)
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
        windows = find_paste_windows(boxes, image_size)
        if soft.device.type != "cpu":
            return cls(windows, _stack_soft(soft, boxes, windows), image_size, soft.device)
        masks = [
            sample_window(mask, box, window) >= MASK_THRESHOLD
            for mask, box, window in zip(soft, boxes, windows.tolist(), strict=True)
        ]
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
        return cls(torch.tensor(windows, dtype=torch.int64).reshape(-1, 4), masks, shape, full.device)

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
        return cls(windows, [mask for part in parts for mask in part._masks], sizes.pop(), parts[0].device)

    def __len__(self) -> int:
        return len(self._masks)

    @property
    def masks(self) -> list[Tensor]:
        """N bool tensors, the i-th of the size of its window."""
        return [
            mask.map.cut(mask.index, window) if isinstance(mask, SharedMask) else mask
            for mask, window in zip(self._masks, self._list_windows())
        ]

    def shapes(self) -> list[tuple[int, int]]:
        """Return height and width of each mask, which are those of its window unless the mask does not fit it."""
        return [
            (mask.shape[0], mask.shape[1]) if isinstance(mask, Tensor) else (y1 - y0, x1 - x0)
            for mask, (x0, y0, x1, y1) in zip(self._masks, self._list_windows())
        ]

    def _list_windows(self) -> list[Window]:
        return [(x0, y0, x1, y1) for x0, y0, x1, y1 in self.windows.tolist()]

    def crops(self) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
        """Yield ((rows, columns) of the window, mask inside it)."""
        for (x0, y0, x1, y1), mask in zip(self._list_windows(), self.masks):
            yield (slice(y0, y1), slice(x0, x1)), mask

    def __iter__(self) -> Iterator[Tensor]:
        """Yield each mask (H, W) bool, one at a time, as Detectron2 reads masks; `crops` are much smaller."""
        for window, mask in self.crops():
            full = torch.zeros(self.image_size, dtype=torch.bool, device=self.device)
            full[window] = mask
            yield full

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return (N, H, W) bool, for Detectron2's Visualizer."""
        return self.full().cpu().numpy().astype(dtype or bool, copy=False)

    def __getitem__(self, item: int | slice | Tensor | np.ndarray | Sequence[int]) -> "BoxMasks":
        if isinstance(item, slice):
            indices = list(range(len(self)))[item]
        else:
            index = torch.as_tensor(item).cpu()
            if index.dtype == torch.bool:
                index = index.nonzero()[:, 0]
            indices = index.reshape(-1).tolist()
        windows = self.windows[torch.as_tensor(indices, dtype=torch.int64)]
        return BoxMasks(windows, [self._masks[i] for i in indices], self.image_size, self.device)

    def to(self, *args: object, **kwargs: object) -> "BoxMasks":
        """Move the masks in one copy; the arguments are those of `Tensor.to`."""
        device = torch.empty(0, device=self.device).to(*args, **kwargs).device  # type: ignore[call-overload]
        if device == self.device:
            return self
        masks: list[Tensor | SharedMask] = []
        if self.device.type == "cpu":
            mapped = self.on_maps()
            masks = list(mapped._masks)
            for map, positions, indices in mapped.by_map():
                moved = map.to(device)
                for position, index in zip(positions, indices):
                    masks[position] = SharedMask(moved, index)
        elif len(self):
            # Only the pixels inside the windows, which are far fewer than those of the maps.
            cut = self.masks
            pixels = torch.cat([mask.reshape(-1) for mask in cut]).to(device)
            parts = pixels.split([mask.numel() for mask in cut])
            masks = [part.view(mask.shape) for part, mask in zip(parts, cut)]
        return BoxMasks(self.windows, masks, self.image_size, device)

    def on_maps(self) -> "BoxMasks":
        """Return the same masks, all of them on maps."""
        masks = list(self._masks)
        alone = [i for i, mask in enumerate(masks) if isinstance(mask, Tensor)]
        for group in group_by_size(self.windows[alone]):
            positions = [alone[i] for i in group]
            stack = MaskStack.from_masks([mask for mask in (masks[p] for p in positions) if isinstance(mask, Tensor)])
            for index, position in enumerate(positions):
                masks[position] = SharedMask(stack, index)
        return BoxMasks(self.windows, masks, self.image_size, self.device)

    def by_map(self) -> list[tuple[MaskStack | OwnerMap, list[int], list[int]]]:
        """Return each map with the positions of its masks here, and their indices in the map."""
        found: dict[int, tuple[MaskStack | OwnerMap, list[int], list[int]]] = {}
        for position, mask in enumerate(self._masks):
            if isinstance(mask, SharedMask):
                _, positions, indices = found.setdefault(id(mask.map), (mask.map, [], []))
                positions.append(position)
                indices.append(mask.index)
        return list(found.values())

    def areas(self) -> Tensor:
        """Return the number of pixels of each mask: (N,) int64."""
        masks = self.masks
        return torch.stack([m.sum() for m in masks]) if masks else self.windows.new_zeros(0, device=self.device)

    def full(self) -> Tensor:
        """Return the masks as a tensor (N, H, W) bool."""
        groups = self.by_map()
        if len(groups) == 1 and len(groups[0][1]) == len(self):
            return groups[0][0].paste(groups[0][2], self.windows, self.image_size)
        result = torch.zeros((len(self), *self.image_size), dtype=torch.bool, device=self.device)
        for map, positions, indices in groups:
            pasted = map.paste(indices, self.windows[positions], self.image_size)
            result[upload(positions, self.device)] = pasted
        for canvas, (x0, y0, x1, y1), mask in zip(result, self._list_windows(), self._masks):
            if isinstance(mask, Tensor):
                canvas[y0:y1, x0:x1] = mask
        return result


def _get_device(mask: Tensor | SharedMask) -> torch.device:
    return mask.device if isinstance(mask, Tensor) else mask.map.device


def _stack_soft(soft: Tensor, boxes: Tensor, windows: Tensor) -> list[SharedMask]:
    """Sample soft masks on an accelerator, in few stacks."""
    masks: dict[int, SharedMask] = {}
    for group, planes in sample_stacks(soft, boxes, windows):
        stack = MaskStack(planes >= MASK_THRESHOLD)
        masks.update({position: SharedMask(stack, index) for index, position in enumerate(group)})
    return [masks[i] for i in range(len(soft))]
