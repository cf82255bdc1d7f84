"""Images as a graph reads them. (H, W) = the image, C = channels."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from unified_seg_arrays.stretch import stretch_contrast
from unified_seg_files import read_bytes
from unified_seg_runtime.folder import Description

# Of pictures with three channels, which callers have as RGB.
COLORS = ("BGR", "RGB")
# Of channels that have nothing in common.
BANDS = "BANDS"
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM")
MAX_PIXELS = 89_478_485


class ImageError(ValueError):
    """An image that can't be read, or with other channels than the model reads."""


def read_image(path: str | Path) -> np.ndarray:
    """Return an image file as (H, W, 3) uint8 RGB, upright; raises ImageError if it can't be read."""
    try:
        return decode_image(read_bytes(path))
    except (OSError, ImageError) as error:
        raise ImageError(f"{path}: {error}") from None


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return the image of an encoded file as (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageError: it can't be read, has more pixels, or more than 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise ImageError(f"{image.width}x{image.height} pixels are more than the limit of {max_pixels:,}")
            if _has_more_than_8_bits(image):
                raise ImageError("more than 8 bits a channel; convert it as for the training, and give the array")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except ImageError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"not a readable image: {error}") from None


def _has_more_than_8_bits(image: Image.Image) -> bool:
    tiles = getattr(image, "tile", None)
    stored = tiles[0][3] if tiles else ""
    # Pillow describes the pixels by a mode such as "RGB;16B"; those of a PGM or PPM by one and the highest value.
    exceeds_bytes = image.format == "PPM" and isinstance(stored, tuple) and stored[1] > 255
    return exceeds_bytes or ";16" in str(stored) or image.mode[0] in "IF"


def to_input(image: np.ndarray, form: Description) -> np.ndarray:
    """Return an image (H, W, 3) RGB, (H, W) gray or (H, W, C) in the channels and with the contrast of the model.

    Raises:
        ImageError: not uint8, or another number of channels than the model reads.
    """
    image = _to_channels(image, form)
    if form.percentiles is None:
        return image
    return stretch_contrast(image, form.percentiles, by_channel=form.channels == BANDS)


def _to_channels(image: np.ndarray, form: Description) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
        raise ImageError(f"an image must be (H, W, C) or (H, W) uint8, got {image.dtype} {image.shape}")
    if image.ndim == 3 and image.shape[2] == 3 and form.channels in COLORS:
        return image if form.channels == "RGB" else image[:, :, ::-1]
    if image.ndim == 3 and image.shape[2] == 3 and form.channels == "L":
        return np.asarray(Image.fromarray(image).convert("L"))[..., None]
    if image.ndim == 2:
        image = image[..., None]
        image = image.repeat(3, axis=2) if form.channels in COLORS else image
    if image.shape[2] != form.num_channels:
        found = image.shape[2]
        raise ImageError(f"the model reads {form.num_channels} channels ({form.channels}), the image has {found}")
    return image


def resize_to_form(image: np.ndarray, form: Description) -> np.ndarray:
    """Resize an image (H, W, C) as the training did or, for a graph of a fixed size, to fit into it."""
    return resize_image(image, find_input_size((image.shape[0], image.shape[1]), form))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (H, W, C) to a height and width, with Pillow."""
    if size == image.shape[:2]:
        return image
    # Channel by channel: Pillow has no images of two channels, or of more than four.
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(image, 2, 0)]
    return np.stack([np.asarray(p.resize(size[::-1], Image.Resampling.BILINEAR)) for p in planes], axis=2)


def find_input_size(size: tuple[int, int], form: Description) -> tuple[int, int]:
    """Return height and width of the input for an image of this height and width."""
    if form.size is not None:
        scale = min(form.size[0] / size[0], form.size[1] / size[1])
        return max(int(size[0] * scale + 0.5), 1), max(int(size[1] * scale + 0.5), 1)
    if form.min_size:
        scale = form.min_size / min(size)
        height, width = (form.min_size, scale * size[1]) if size[0] < size[1] else (scale * size[0], form.min_size)
        if max(height, width) > form.max_size:
            shrink = form.max_size / max(height, width)
            height, width = height * shrink, width * shrink
        size = (max(int(height + 0.5), 1), max(int(width + 0.5), 1))
    return size


def make_batch(images: list[np.ndarray], form: Description) -> tuple[np.ndarray, np.ndarray]:
    """Return images (H_i, W_i, C) as the inputs of a graph: (N, C, H, W) uint8 and their sizes (N, 2) int64."""
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    height, width = form.size or (max(form.smallest, *sides) for sides in zip(*sizes))
    batch = np.zeros((max(form.batch, len(images)), form.num_channels, height, width), dtype=np.uint8)
    for plane, image in zip(batch, images):
        plane[:, : image.shape[0], : image.shape[1]] = np.moveaxis(image, 2, 0)
    missing = len(batch) - len(sizes)
    return batch, np.array([*sizes, *[(1, 1)] * missing], dtype=np.int64)
