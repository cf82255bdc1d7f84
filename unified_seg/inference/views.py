"""The views of an image that test-time augmentation looks at: the image at several sizes, plain and mirrored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data.transforms import ResizeShortestEdge, ResizeTransform
from torch import Tensor

from unified_seg.config import ConfigError

Size = tuple[int, int]


@dataclass(frozen=True)
class View:
    """An image resized to `size` (height, width), and mirrored, left for right, if it says so."""

    size: Size
    mirrored: bool = False

    def of(self, image: Tensor) -> Tensor:
        """(C, H, W) uint8 -> (C, height, width) uint8, resized as in the data pipeline."""
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        pixels = ResizeTransform(*pixels.shape[:2], *self.size).apply_image(pixels)
        view = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
        return view.flip(2) if self.mirrored else view

    def boxes_to(self, boxes: Tensor, image_size: Size) -> Tensor:
        """Boxes (N, 4), x0, y0, x1, y1 in an image of this size, where they lie in the view."""
        boxes = boxes * _scales(boxes, image_size, self.size)
        return _mirror(boxes, self.size[1]) if self.mirrored else boxes

    def boxes_from(self, boxes: Tensor, image_size: Size) -> Tensor:
        """The other way round."""
        if self.mirrored:
            boxes = _mirror(boxes, self.size[1])
        return boxes * _scales(boxes, self.size, image_size)


class ViewRule:
    """Which views of an image are tested, by its size.

    Args:
        scales: factors of the plain size; if there is none, `min_sizes` count.
        min_sizes: lengths of the shorter side, pixels.
        max_size: limit of the longer side with `min_sizes`, pixels.
        flip: look at each mirrored too.
        plain_min_size, plain_max_size: the plain size, as by Detectron2's ResizeShortestEdge; 0 = the image's own.

    Raises:
        ConfigError: no view, or one without a pixel.
    """

    @configurable
    def __init__(
        self,
        *,
        scales: Sequence[float] = (),
        min_sizes: Sequence[int] = (),
        max_size: int = 0,
        flip: bool = False,
        plain_min_size: int = 0,
        plain_max_size: int = 0,
    ):
        if not scales and not min_sizes:
            raise ConfigError("TEST.AUG.SCALES and TEST.AUG.MIN_SIZES are both empty: there is nothing to test")
        for scale in scales:
            if scale <= 0:
                raise ConfigError(f"TEST.AUG.SCALES: {scale} is not above 0")
            if plain_min_size > 0 and _rounded(scale * plain_min_size) < 1:
                raise ConfigError(
                    f"TEST.AUG.SCALES: {scale} of INPUT.MIN_SIZE_TEST, {plain_min_size} pixels, leaves no pixel"
                )
        if not scales and min(*min_sizes, max_size) < 1:
            raise ConfigError(
                f"TEST.AUG.MIN_SIZES {tuple(min_sizes)} and TEST.AUG.MAX_SIZE {max_size} must be 1 pixel or more"
            )
        self.scales = tuple(scales)
        self.min_sizes = tuple(min_sizes)
        self.max_size = max_size
        self.flip = flip
        self.plain_min_size = plain_min_size
        self.plain_max_size = plain_max_size

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        augmentation = cfg.TEST.AUG
        return {
            "scales": augmentation.SCALES,
            "min_sizes": augmentation.MIN_SIZES,
            "max_size": augmentation.MAX_SIZE,
            "flip": augmentation.FLIP,
            "plain_min_size": cfg.INPUT.MIN_SIZE_TEST,
            "plain_max_size": cfg.INPUT.MAX_SIZE_TEST,
        }

    def views(self, image_size: Size) -> list[View]:
        """The views of an image of this height and width, each at least a pixel high and wide."""
        sizes = [self._scaled(image_size, scale) for scale in self.scales] or [
            _at_least_a_pixel(ResizeShortestEdge.get_output_shape(*image_size, min_size, self.max_size))
            for min_size in self.min_sizes
        ]
        return [View(size, mirrored) for size in sizes for mirrored in ((False, True) if self.flip else (False,))]

    def _scaled(self, image_size: Size, scale: float) -> Size:
        plain = image_size
        if self.plain_min_size > 0:
            plain = ResizeShortestEdge.get_output_shape(*image_size, self.plain_min_size, self.plain_max_size)
        return _at_least_a_pixel((_rounded(scale * plain[0]), _rounded(scale * plain[1])))


def _rounded(length: float) -> int:
    """As Detectron2 rounds sizes."""
    return int(length + 0.5)


def _at_least_a_pixel(size: Size) -> Size:
    return max(size[0], 1), max(size[1], 1)


def _scales(boxes: Tensor, source: Size, target: Size) -> Tensor:
    across, down = target[1] / source[1], target[0] / source[0]
    return boxes.new_tensor([across, down, across, down])


def _mirror(boxes: Tensor, width: int) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack([width - x1, y0, width - x0, y1], dim=1)
