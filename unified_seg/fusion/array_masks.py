"""Masks and fused maps on the CPU as the arrays of `unified_seg_arrays.fusion`, which share their memory."""

import torch
from torch import Tensor

from unified_seg.structures.box_masks import BoxMasks
from unified_seg_arrays.fusion.steps import FusedArrays, FusedPixels, WindowMasks

FusedTensors = FusedPixels[Tensor, BoxMasks]


def to_arrays(masks: BoxMasks) -> WindowMasks:
    """Return masks as arrays."""
    return WindowMasks(masks.windows.numpy(), [mask.numpy() for mask in masks.masks])


def to_tensors(fused: FusedArrays) -> FusedTensors:
    """Return fused maps and masks as tensors."""
    image_size = (fused.ids.shape[0], fused.ids.shape[1])
    planes = [torch.from_numpy(plane) for plane in fused.masks.planes]
    masks = BoxMasks(torch.from_numpy(fused.masks.windows), planes, image_size)
    ids, labels = torch.from_numpy(fused.ids), torch.from_numpy(fused.labels)
    return FusedTensors(ids, labels, fused.kept, fused.found, fused.areas, masks, fused.stuff)
