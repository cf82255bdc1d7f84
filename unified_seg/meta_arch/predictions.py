"""The predictions of the model's parts, image by image, on the grid of the network's input.

N = images, (H, W) = the padded input, (h, w) = a map.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from detectron2.structures import ImageList, Instances
from torch import Tensor

from unified_seg.meta_arch.computation import to_plain
from unified_seg.structures.cell_map import CellMap
from unified_seg.structures.logit_map import LogitEnsemble, LogitMap


@dataclass
class ImagePrediction:
    """What the parts of the model predict for an image, before it is brought to the original image's size.

    Attributes:
        semantic: the logits of the semantic head, or of several views; None without a semantic head.
        instances: of the detector, with soft masks (N, 1, M, M) if it has masks; None without a detector.
        maps, logit_maps: further maps of the semantic head (`SemanticHead.describe`, `.logit_maps`), in compact output
            only; empty in sliding windows, which have no single map.
    """

    semantic: LogitMap | LogitEnsemble | None = None
    instances: Instances | None = None
    maps: Mapping[str, CellMap] = field(default_factory=dict)
    logit_maps: Mapping[str, LogitMap] = field(default_factory=dict)


def mask_valid(images: ImageList) -> Tensor:
    """Return (N, 1, H, W) bool: False in the border that pads an image."""
    valid = torch.zeros_like(images.tensor[:, :1], dtype=torch.bool)
    for mask, (height, width) in zip(valid, images.image_sizes):
        mask[:, :height, :width] = True
    return valid


def cut_cell_maps(maps: Mapping[str, Tensor], images: ImageList, index: int) -> dict[str, CellMap]:
    """Return the maps of one image, without padding, from those of a batch, (N, h, w) by name."""
    height, size = images.tensor.shape[-2], images.image_sizes[index]
    return {
        name: CellMap.from_padded(to_plain(values[index]), height // values.shape[-2], size)
        for name, values in maps.items()
    }


def cut_logit_maps(maps: Mapping[str, Tensor], images: ImageList, index: int) -> dict[str, LogitMap]:
    """Return the logits of one image from those of a batch, (N, C, h, w) by name."""
    height, size = images.tensor.shape[-2], images.image_sizes[index]
    return {
        name: LogitMap.from_logits(to_plain(values[index]), height // values.shape[-2], size)
        for name, values in maps.items()
    }
