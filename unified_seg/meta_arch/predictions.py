"""What the parts of the model say of the images of a batch, each image by itself.

N = images, (H, W) = the padded input, (h, w) = a map.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from detectron2.structures import ImageList, Instances
from torch import Tensor

from unified_seg.structures.cell_map import CellMap
from unified_seg.structures.logit_map import LogitMap


class ImagePrediction(NamedTuple):
    """What the parts of the model say of an image, on the grid of the network's input.

    Attributes:
        semantic: the semantic head's logits.
        instances: the detector's.
        maps, logit_maps: what the semantic head says beside its logits (`SemanticHead.describe`, `.logit_maps`), in
            compact output alone; empty in sliding windows, which have no single map.
    """

    semantic: LogitMap | None
    instances: Instances | None
    maps: Mapping[str, CellMap]
    logit_maps: Mapping[str, LogitMap]


def valid_pixels(images: ImageList) -> Tensor:
    """(N, 1, H, W) bool: not of the border that pads an image."""
    valid = torch.zeros_like(images.tensor[:, :1], dtype=torch.bool)
    for mask, (height, width) in zip(valid, images.image_sizes):
        mask[:, :height, :width] = True
    return valid


def cell_maps_of(described: Mapping[str, Tensor], images: ImageList) -> list[dict[str, CellMap]]:
    """Maps (N, h, w) of a batch, by name -> those of each image."""
    height = images.tensor.shape[-2]
    return [
        {
            name: CellMap.without_padding(values[i], height // values.shape[-2], size)
            for name, values in described.items()
        }
        for i, size in enumerate(images.image_sizes)
    ]


def logit_maps_of(logits: Mapping[str, Tensor], images: ImageList) -> list[dict[str, LogitMap]]:
    """Logits (N, C, h, w) of a batch, by name -> those of each image."""
    height = images.tensor.shape[-2]
    return [
        {name: LogitMap.whole(values[i], height // values.shape[-2], size) for name, values in logits.items()}
        for i, size in enumerate(images.image_sizes)
    ]
