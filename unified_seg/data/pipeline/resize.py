"""Resize of images and label maps, alone and together with a crop, with Pillow's results as Detectron2 has them.

Only the pixels of the crop are computed. Label maps of any integer type are resized by nearest neighbor.
"""

from collections.abc import Sequence

import numpy as np
from detectron2.data import transforms as T
from PIL import Image

from unified_seg.data.pipeline.transforms import Crop, RandomCrop
from unified_seg.ops.image_resize import compute_weights, find_nearest, resize_image

Window = tuple[tuple[int, int], tuple[int, int]]


class Resize(T.ResizeTransform):
    """Detectron2's resize with the same results, also of bytes with two, four or more channels."""

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        return self.apply_window(img, ((0, self.new_h), (0, self.new_w)), interp)

    def apply_window(self, array: np.ndarray, window: Window, interpolation: int | None = None) -> np.ndarray:
        """Return a window of the resized array.

        Args:
            array: (H, W) or (H, W, C).
            window: first and last + 1 of the rows and of the columns of the result.
            interpolation: of Pillow; None: that of this transform.
        """
        interpolation = self.interp if interpolation is None else interpolation
        axes = list(zip((self.h, self.w), (self.new_h, self.new_w), window))
        if interpolation == Image.Resampling.NEAREST:
            rows, columns = (find_nearest(*axis) for axis in axes)
            return array[rows][:, columns]
        if interpolation == Image.Resampling.BILINEAR and array.dtype == np.uint8 and self.new_h >= self.h:
            return resize_image(array, *(compute_weights(*axis) for axis in axes))
        (top, bottom), (left, right) = window
        return self._resize_by_pillow(array, interpolation)[top:bottom, left:right]

    def _resize_by_pillow(self, array: np.ndarray, interpolation: int) -> np.ndarray:
        if array.dtype != np.uint8 or array.ndim == 2 or array.shape[2] in (1, 3):
            return super().apply_image(array, interpolation)
        bands = np.moveaxis(array, 2, 0)
        return np.stack([super(Resize, self).apply_image(band, interpolation) for band in bands], axis=2)


class ResizeShortestEdge(T.ResizeShortestEdge):
    """Detectron2's resize, with sides of at least one pixel, as for an image of 1 x 5000."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        transform = super().get_transform(image)
        if isinstance(transform, T.NoOpTransform):
            return transform
        size = max(1, transform.new_h), max(1, transform.new_w)
        return Resize(transform.h, transform.w, *size, transform.interp)


class RandomScale(ResizeShortestEdge):
    """Detectron2's resize times a random factor, in a single interpolation.

    Args:
        short_edge_length: the lengths of the shorter side to draw from, in pixels; 0 = the image's own size.
        max_size: limit of the longer side before the factor, in pixels; not for the image's own size.
        sample_style: "choice" from the lengths, or "range" between them.
        factors: lowest and highest factor.
        step: the factors are lowest, lowest + step, ... up to the highest; 0 = all in this range.
    """

    def __init__(
        self,
        short_edge_length: Sequence[int],
        max_size: int,
        sample_style: str,
        factors: tuple[float, float],
        step: float = 0.0,
    ):
        super().__init__(short_edge_length, max_size, sample_style)
        self.factors = factors
        self.step = step

    def get_transform(self, image: np.ndarray) -> T.Transform:
        height, width = image.shape[:2]
        base = super().get_transform(image)
        base_size = (height, width) if isinstance(base, T.NoOpTransform) else (base.new_h, base.new_w)
        factor = self._draw_factor()
        size = (max(1, int(factor * side + 0.5)) for side in base_size)
        return Resize(height, width, *size, self.interp)

    def _draw_factor(self) -> float:
        low, high = self.factors
        if self.step == 0:
            return np.random.uniform(low, high)
        # Steps such as 0.1 are not exact in binary: the margin keeps the highest factor.
        return low + self.step * np.random.randint(int((high - low) / self.step + 1e-6) + 1)


class ResizeCrop(T.Transform):
    """A resize and a crop as one, which computes no pixel outside of the crop.

    Args:
        resize, crop: the two.
        rounds_borders: let Pillow resize the part of the image that becomes the crop, with rounded borders: values
            differ by up to 2 from those of the two transforms, and labels where two pixels are equally near.
    """

    def __init__(self, resize: Resize, crop: Crop, rounds_borders: bool = False):
        self.resize = resize
        self.crop = crop
        self.rounds_borders = rounds_borders
        self.window = ((crop.y0, crop.y0 + crop.h), (crop.x0, crop.x0 + crop.w))

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        if self.rounds_borders and img.dtype == np.uint8 and img.shape[2:] in ((), (3,)):
            return self._resize_part(img, self.resize.interp)
        return self.resize.apply_window(img, self.window)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        if self.rounds_borders:
            return self._resize_part(segmentation, Image.Resampling.NEAREST)
        return self.resize.apply_window(segmentation, self.window, Image.Resampling.NEAREST)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return self.crop.apply_coords(self.resize.apply_coords(coords))

    def _resize_part(self, array: np.ndarray, interpolation: int) -> np.ndarray:
        resize, crop = self.resize, self.crop
        left, right = (x * resize.w / resize.new_w for x in (crop.x0, crop.x0 + crop.w))
        top, bottom = (y * resize.h / resize.new_h for y in (crop.y0, crop.y0 + crop.h))
        box = (left, top, right, bottom)
        return np.array(Image.fromarray(array).resize((crop.w, crop.h), interpolation, box=box))


class RandomResizeCrop(T.Augmentation):
    """A resize and then `RandomCrop`, as one transform, which is faster.

    Args:
        resize: draws the size.
        crop: draws the crop.
    """

    def __init__(self, resize: ResizeShortestEdge, crop: RandomCrop):
        self.resize = resize
        self.crop = crop
        self.input_args = crop.input_args

    def get_transform(self, image: np.ndarray, sem_seg: np.ndarray | None = None) -> T.Transform:
        resize = self.resize.get_transform(image)
        if isinstance(resize, T.NoOpTransform):
            return self.crop.get_transform(image, sem_seg)
        label = None if sem_seg is None else resize.apply_segmentation(sem_seg)
        # The crop needs only the size of the image.
        crop = self.crop.get_transform(np.broadcast_to(0, (resize.new_h, resize.new_w)), label)
        return ResizeCrop(resize, crop, rounds_borders=isinstance(self.resize, RandomScale))
