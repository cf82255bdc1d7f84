"""The views of an image for test-time augmentation: the image at several sizes, plain and mirrored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data.transforms import ResizeShortestEdge
from PIL import Image
from torch import Tensor

from unified_seg.config import ConfigError
from unified_seg.data.pipeline.resize import Resize
from unified_seg.hints import format_hint

Size = tuple[int, int]


@dataclass(frozen=True)
class View:
    """A transform of an image: resized to `size` (height, width) and, if `mirrored`, flipped horizontally."""

    size: Size
    mirrored: bool = False

    def apply_image(self, image: Tensor) -> Tensor:
        """Return the view (C, height, width) uint8 of an image (C, H, W) uint8, resized as in the data pipeline."""
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        pixels = Resize(*pixels.shape[:2], *self.size, Image.Resampling.BILINEAR).apply_image(pixels)
        view = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
        return view.flip(2) if self.mirrored else view

    def apply_boxes(self, boxes: Tensor, image_size: Size) -> Tensor:
        """Move boxes (N, 4), x0, y0, x1, y1 in pixels of an image of this size, to the view."""
        boxes = boxes * _get_scales(boxes, image_size, self.size)
        return _mirror(boxes, self.size[1]) if self.mirrored else boxes

    def invert_boxes(self, boxes: Tensor, image_size: Size) -> Tensor:
        """Move boxes of the view back to the image; the inverse of `apply_boxes`."""
        if self.mirrored:
            boxes = _mirror(boxes, self.size[1])
        return boxes * _get_scales(boxes, self.size, image_size)


class ViewRule:
    """The rule that makes the views of an image from its size.

    Args:
        scales: factors of the plain size; if empty, `min_sizes` are used.
        min_sizes: lengths of the shorter side, pixels.
        max_size: limit of the longer side with `min_sizes`, pixels.
        flip: add each view mirrored.
        plain_min_size, plain_max_size: the plain size, by Detectron2's ResizeShortestEdge; 0 = the image's own size.

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
            raise ConfigError(
                "TEST.AUG.SCALES and TEST.AUG.MIN_SIZES are both empty, set one, such as "
                + format_hint("TEST.AUG.SCALES", [1.0])
            )
        for scale in scales:
            if scale <= 0:
                raise ConfigError(f"TEST.AUG.SCALES: must be above 0, got {scale}")
            if plain_min_size > 0 and _round(scale * plain_min_size) < 1:
                raise ConfigError(
                    f"TEST.AUG.SCALES: {scale} times INPUT.MIN_SIZE_TEST, {plain_min_size} pixels, is less than a pixel"
                )
        if not scales and min(*min_sizes, max_size) < 1:
            raise ConfigError(
                f"TEST.AUG.MIN_SIZES, TEST.AUG.MAX_SIZE: must be 1 pixel or more, got {tuple(min_sizes)} and {max_size}"
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

    def make_views(self, image_size: Size) -> list[View]:
        """Return the views of an image of this height and width, each at least a pixel high and wide."""
        sizes = [self._scale(image_size, scale) for scale in self.scales] or [
            _at_least_a_pixel(ResizeShortestEdge.get_output_shape(*image_size, min_size, self.max_size))
            for min_size in self.min_sizes
        ]
        return [View(size, mirrored) for size in sizes for mirrored in ((False, True) if self.flip else (False,))]

    def _scale(self, image_size: Size, scale: float) -> Size:
        plain = image_size
        if self.plain_min_size > 0:
            plain = ResizeShortestEdge.get_output_shape(*image_size, self.plain_min_size, self.plain_max_size)
        return _at_least_a_pixel((_round(scale * plain[0]), _round(scale * plain[1])))


def _round(length: float) -> int:
    """Round a length as Detectron2 does."""
    return int(length + 0.5)


def _at_least_a_pixel(size: Size) -> Size:
    return max(size[0], 1), max(size[1], 1)


def _get_scales(boxes: Tensor, source: Size, target: Size) -> Tensor:
    x_scale, y_scale = target[1] / source[1], target[0] / source[0]
    return boxes.new_tensor([x_scale, y_scale, x_scale, y_scale])


def _mirror(boxes: Tensor, width: int) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(1)
    return torch.stack([width - x1, y0, width - x0, y1], dim=1)
