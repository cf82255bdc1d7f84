"""Reading images and label files, and writing maps of ids. Every error names the file."""

from pathlib import Path

import numpy as np
from detectron2.data.detection_utils import convert_PIL_to_numpy
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from unified_seg.data.io.file_system import write_atomically
from unified_seg.data.problems import DataError, MissingFileError, SizeError, UnreadableError

# Pillow opens more formats than these, some through outside programs (EPS runs Ghostscript).
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM")
LABEL_FORMATS = ("PNG", "BMP", "TIFF")
# The suffixes of their files.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
# EXIF orientations that exchange height and width.
QUARTER_TURNS = (5, 6, 7, 8)
# What Pillow raises for files that are damaged or not images.
UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# Where PNGs keep EXIF tags.
PNG_EXIF = {"exif", "Raw profile type exif", "XML:com.adobe.xmp"}
# A file of a few kilobytes can claim more pixels than memory holds. Pillow warns from this number on: 9,459 x 9,459.
MAX_PIXELS = 89_478_485
MAX_SEGMENT_ID = 2**24 - 1  # what an RGB pixel holds


def read_image(path: str | Path, format: str = "BGR") -> np.ndarray:
    """Return an image in the order of channels that the model expects, rotated upright by its EXIF tag.

    Of 16 bits the higher 8 are kept.

    Args:
        path: a file in one of IMAGE_FORMATS.
        format: "BGR" or "RGB" (or another of Detectron2's INPUT.FORMAT values).

    Returns:
        (H, W, C) uint8.

    Raises:
        DataError: absent, unreadable, or not an image; a floating-point image, which has no defined white level.
    """
    with _open(path, IMAGE_FORMATS) as stored:
        try:
            image = ImageOps.exif_transpose(stored)
        except UNREADABLE as error:
            raise UnreadableError(f"{path}: its EXIF tags can't be read: {error}") from None
        if image.mode == "F":
            raise DataError(
                f"{path}: a floating-point image, which has no defined white level; convert it to 8 or 16 bits"
            )
        if image.mode.startswith("I"):  # Pillow would clip at 255
            image = Image.fromarray((np.asarray(image, dtype=np.int32) >> 8).clip(0, 255).astype(np.uint8))
        # A copy: Pillow's memory is read-only, of which torch warns.
        return np.array(convert_PIL_to_numpy(image, format), order="C")


def read_label(path: str | Path) -> np.ndarray:
    """Return a map of ids: the values of a grayscale image, the indices (not the colors) of a palette image.

    Returns:
        (H, W) uint8 if the file has up to 8 bits a pixel, else int32.

    Raises:
        DataError: absent, unreadable, or a color image.
    """
    with _open(path, LABEL_FORMATS) as image:
        if image.mode not in ("L", "P", "1", "I", "I;16", "I;16B"):
            raise DataError(f"{path}: a label map has one channel of ids, got a {image.mode} image")
        return np.array(image, dtype=np.uint8 if image.mode in ("L", "P", "1") else np.int32)


def read_panoptic_ids(path: str | Path) -> np.ndarray:
    """Return the segment ids of a COCO panoptic PNG: R + 256 G + 65536 B.

    Returns:
        (H, W) int32, 0 = void.

    Raises:
        DataError: absent, unreadable, or not an RGB image.
    """
    with _open(path, LABEL_FORMATS) as image:
        if image.mode != "RGB":
            raise DataError(f"{path}: a panoptic PNG codes its ids as RGB, got a {image.mode} image")
        # Pillow holds four bytes a pixel, together one number: R + 256 G + 65536 B, and padding on top.
        padded = np.frombuffer(image.tobytes("raw", "RGBX"), dtype="<u4").reshape(image.height, image.width)
    return (padded & 0xFFFFFF).view(np.int32)


def check_size(labels: np.ndarray, size: tuple[int, int], path: str | Path) -> np.ndarray:
    """Return a map (H, W) that has the size of its image.

    Raises:
        SizeError: it has another size.
    """
    if labels.shape != tuple(size):
        raise SizeError(
            f"{path}: {labels.shape[0]}x{labels.shape[1]} pixels, its image has {size[0]}x{size[1]} (height x width)"
        )
    return labels


def read_image_size(path: str | Path) -> tuple[int, int]:
    """Return (height, width) of what `read_image` returns, from the file's header."""
    return compute_upright_size(*read_image_header(path))


def compute_upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return (height, width) of an image with this header after it is rotated upright."""
    return (width, height) if orientation in QUARTER_TURNS else (height, width)


def read_image_header(path: str | Path) -> tuple[int, int, int]:
    """Return (height, width, orientation): the stored size and the EXIF tag, 1 for an upright image.

    Raises:
        DataError: absent, or not a readable image; damage behind the header is not found.
    """
    with _open(path, IMAGE_FORMATS, decode=False) as image:
        if image.format == "PNG" and not PNG_EXIF & image.info.keys():
            return image.height, image.width, 1  # else Pillow decodes all pixels to look for the tag behind them
        try:
            return image.height, image.width, int(image.getexif().get(ExifTags.Base.Orientation, 1))
        except UNREADABLE as error:
            raise UnreadableError(f"{path}: its EXIF tags can't be read: {error}") from None


def _open(path: str | Path, formats: tuple[str, ...], decode: bool = True) -> Image.Image:
    try:
        image = Image.open(path, formats=formats)
        pixels = image.width * image.height
        if decode and pixels <= MAX_PIXELS:
            image.load()
    except FileNotFoundError:
        raise MissingFileError(f"{path}: there is no such file") from None
    except UNREADABLE as error:
        raise UnreadableError(f"{path}: not a readable image of {', '.join(formats)}: {error}") from None
    if pixels > MAX_PIXELS:
        raise UnreadableError(f"{path}: {image.height}x{image.width} pixels, more than the limit of {MAX_PIXELS}")
    return image


def write_png(path: Path, ids: np.ndarray) -> None:
    """Write a map of ids as a PNG.

    Args:
        path: its folder is created if need be.
        ids: (H, W); uint8 for a grayscale PNG; other integers, 0 to MAX_SEGMENT_ID, for a COCO panoptic PNG:
            R + 256 G + 65536 B.

    Raises:
        ValueError: an id that three bytes can't hold.
    """
    if ids.dtype != np.uint8:
        if ids.min() < 0 or ids.max() > MAX_SEGMENT_ID:
            raise ValueError(f"{path}: segment ids must be in [0, {MAX_SEGMENT_ID}], got {ids.min()} .. {ids.max()}")
        four_bytes = np.ascontiguousarray(ids, dtype="<u4").view(np.uint8).reshape(*ids.shape, 4)
        ids = np.ascontiguousarray(four_bytes[..., :3])
    with write_atomically(path) as temporary:
        # The strongest compression takes several times as long and gains little on maps of ids.
        Image.fromarray(ids).save(temporary, format="PNG", compress_level=1)
