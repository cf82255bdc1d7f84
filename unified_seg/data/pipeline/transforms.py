"""Transforms and augmentations that Detectron2 does not have.

Points are continuous: pixel (x, y) covers [x, x + 1) by [y, y + 1). New pixels get the fill color in images and VOID in
label maps. Random numbers come from numpy's global state, which Detectron2 seeds in each worker of a loader.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
from detectron2.data import transforms as T

# Void in label maps during transforms, because Detectron2's transforms fill new pixels with 0.
VOID = 0
# The most draws of a crop of which one category covers too much, as in Detectron2; the last one is then used.
CROP_DRAWS = 10
# OpenCV's conversions to gray: 0.299 R + 0.587 G + 0.114 B.
GRAY_OF = {"BGR": cv2.COLOR_BGR2GRAY, "RGB": cv2.COLOR_RGB2GRAY}


class Rotate(T.RotationTransform):
    """Rotation about the image's center; the size does not change.

    Args:
        h, w: size of the image.
        angle: degrees, counter-clockwise.
        fill: color of the new corners, one value a channel.
    """

    def __init__(self, h: int, w: int, angle: float, fill: Sequence[float]):
        super().__init__(h, w, angle, expand=False)
        self.fill = tuple(fill)

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return self._warp(img, cv2.INTER_LINEAR, self.fill)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return self._warp(segmentation, cv2.INTER_NEAREST, (VOID,) * 4)

    def _warp(self, array: np.ndarray, interpolation: int, fill: tuple[float, ...]) -> np.ndarray:
        # rm_image is Detectron2's matrix for indices of pixels, half a pixel off the one for points.
        size = (self.w, self.h)

        def warp(part: np.ndarray, value: tuple[float, ...]) -> np.ndarray:
            return cv2.warpAffine(part, self.rm_image, size, flags=interpolation, borderValue=value)

        return _fill_by_bands(warp, array, fill)


class RandomRotation(T.Augmentation):
    """`Rotate` by an angle between -degrees and degrees."""

    def __init__(self, degrees: float, fill: Sequence[float]):
        self.degrees = degrees
        self.fill = fill

    def get_transform(self, image: np.ndarray) -> T.Transform:
        height, width = image.shape[:2]
        return Rotate(height, width, np.random.uniform(-self.degrees, self.degrees), self.fill)


class Crop(T.CropTransform):
    """Detectron2's crop, but polygons are not clipped, which would need Shapely."""

    def apply_polygons(self, polygons: list[np.ndarray]) -> list[np.ndarray]:
        return [self.apply_coords(polygon) for polygon in polygons]


class RandomCrop(T.RandomCrop):
    """Detectron2's RandomCrop and RandomCrop_CategoryAreaConstraint, with the same random numbers.

    Args:
        crop_type, crop_size: as in Detectron2.
        max_area: a crop is drawn again if a category has this share of its labeled pixels, or more; with 1 the first
            crop is used and labels are not needed.
    """

    def __init__(self, crop_type: str, crop_size: Sequence[float], max_area: float = 1.0):
        super().__init__(crop_type, crop_size)
        self.max_area = max_area
        self.input_args = ("image", "sem_seg") if max_area < 1.0 else ("image",)

    def get_crop_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        # A share of a small image may round to 0.
        height, width = super().get_crop_size(image_size)
        return max(1, height), max(1, width)

    def get_transform(self, image: np.ndarray, sem_seg: np.ndarray | None = None) -> T.Transform:
        for _ in range(CROP_DRAWS):
            crop = super().get_transform(image)
            if self.max_area >= 1.0 or sem_seg is None or _is_varied(crop.apply_segmentation(sem_seg), self.max_area):
                break
        return Crop(crop.x0, crop.y0, crop.w, crop.h)


def _is_varied(label: np.ndarray, max_area: float) -> bool:
    if label.ndim == 3:  # the bytes of more than 255 classes, the lowest first
        label = label[..., 0] + (label[..., 1].astype(np.int64) << 8)
    counts = np.bincount(label.ravel())
    counts[VOID] = 0
    return bool(counts.max() < counts.sum() * max_area)


class Pad(T.PadTransform):
    """Detectron2's padding, with a fill of one value a channel."""

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        sides = (self.y0, self.y1, self.x0, self.x1)

        def pad(part: np.ndarray, value: tuple[float, ...]) -> np.ndarray:
            return cv2.copyMakeBorder(part, *sides, cv2.BORDER_CONSTANT, value=value)

        return _fill_by_bands(pad, img, self.pad_value)


class PadToSize(T.Augmentation):
    """Padding of smaller images to a size, evenly on both sides.

    Args:
        size: minimum height and width, in pixels.
        fill: color of the padding, one value a channel.
    """

    def __init__(self, size: tuple[int, int], fill: Sequence[float]):
        self.size = size
        self.fill = fill

    def get_transform(self, image: np.ndarray) -> T.Transform:
        height, width = image.shape[:2]
        missing_y, missing_x = max(0, self.size[0] - height), max(0, self.size[1] - width)
        if not missing_y and not missing_x:
            return T.NoOpTransform()
        top, left = missing_y // 2, missing_x // 2
        fill = tuple(self.fill)
        return Pad(left, top, missing_x - left, missing_y - top, width, height, pad_value=fill, seg_pad_value=VOID)


class RandomColors(T.Augmentation, ABC):
    """A change of the image's colors by a random factor; the result is clipped to bytes.

    Args:
        low, high: bounds of the factor; 1 changes nothing.
    """

    def __init__(self, low: float, high: float):
        self.low = low
        self.high = high

    def get_transform(self, image: np.ndarray) -> T.Transform:
        return T.ColorTransform(partial(self.change, factor=np.random.uniform(self.low, self.high)))

    # Detectron2's blending makes a floating-point image, which takes ten times as long as OpenCV's.
    @abstractmethod
    def change(self, image: np.ndarray, factor: float) -> np.ndarray:
        """Return the image with changed colors."""


class RandomBrightness(RandomColors):
    """Multiplication of the image."""

    def change(self, image: np.ndarray, factor: float) -> np.ndarray:
        return _restore_axes(cv2.addWeighted(image, factor, image, 0.0, 0.0), image)


class RandomContrast(RandomColors):
    """Multiplication of the difference from the mean of the image, over all channels."""

    def change(self, image: np.ndarray, factor: float) -> np.ndarray:
        offset = (1.0 - factor) * float(image.mean())
        return _restore_axes(cv2.addWeighted(image, factor, image, 0.0, offset), image)


class RandomSaturation(RandomColors):
    """Multiplication of the difference from the gray of each pixel.

    Args:
        low, high: see the base class.
        image_format: "BGR" or "RGB".
    """

    def __init__(self, low: float, high: float, image_format: str):
        super().__init__(low, high)
        self.to_gray = GRAY_OF[image_format]

    def change(self, image: np.ndarray, factor: float) -> np.ndarray:
        gray = cv2.cvtColor(cv2.cvtColor(image, self.to_gray), cv2.COLOR_GRAY2BGR)
        return cv2.addWeighted(image, factor, gray, 1.0 - factor, 0.0)


class GaussianBlur(T.Augmentation):
    """Gaussian blur with OpenCV's weights of an odd size: 1 4 6 4 1 for 5, a sigma of 1 pixel."""

    def __init__(self, kernel: int):
        self.kernel = kernel

    def get_transform(self, image: np.ndarray) -> T.Transform:
        return T.ColorTransform(partial(_blur, kernel=self.kernel))


def _blur(image: np.ndarray, kernel: int) -> np.ndarray:
    return _restore_axes(cv2.GaussianBlur(image, (kernel, kernel), 0), image)


def _fill_by_bands(
    function: Callable[[np.ndarray, tuple[float, ...]], np.ndarray], array: np.ndarray, fill: tuple[float, ...]
) -> np.ndarray:
    """Return a function of OpenCV of an array and a fill color, which has at most four channels there."""
    if array.ndim == 2 or array.shape[2] <= 4:
        return _restore_axes(function(array, fill), array)
    bands = [function(np.ascontiguousarray(array[..., i]), (fill[i],)) for i in range(array.shape[2])]
    return np.stack(bands, axis=2)


def _restore_axes(result: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Return OpenCV's result with the last axis of `array`, which OpenCV drops if its length is 1."""
    return result.reshape(*result.shape[:2], *array.shape[2:])
