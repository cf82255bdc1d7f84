"""Readers of images and label files. Every error names the file; nothing but an image is ever opened."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data.detection_utils import convert_PIL_to_numpy
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

# Pillow opens more formats than these, some through outside programs (EPS runs Ghostscript).
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM")
LABEL_FORMATS = ("PNG", "BMP", "TIFF")
# EXIF orientations that exchange height and width.
QUARTER_TURNS = (5, 6, 7, 8)


class DataError(ValueError):
    """A record or file that can't be used; the message names the file and the cause."""


def read_image(path: str | Path, format: str = "BGR") -> np.ndarray:
    """An image in the order of channels that the model wants, turned upright by its EXIF tag.

    Args:
        path: a file of one of IMAGE_FORMATS.
        format: "BGR" or "RGB" (or another of Detectron2's INPUT.FORMAT values).

    Returns:
        (H, W, C) uint8.

    Raises:
        DataError: absent, unreadable, or not an image.
    """
    with _open(path, IMAGE_FORMATS) as image:
        # A copy of its own: Pillow's memory is read-only, which torch warns of.
        return np.array(convert_PIL_to_numpy(ImageOps.exif_transpose(image), format), order="C")


def read_label(path: str | Path) -> np.ndarray:
    """A map of ids: the values of a grey image, the indices (never the colours) of a palette image.

    Returns:
        (H, W) uint8 where the file holds no more than 8 bits a pixel, else int32.

    Raises:
        DataError: absent, unreadable, or a colour image.
    """
    with _open(path, LABEL_FORMATS) as image:
        if image.mode not in ("L", "P", "1", "I", "I;16", "I;16B"):
            raise DataError(f"{path}: a label map has one channel of ids, this is a {image.mode} image")
        return np.array(image, dtype=np.uint8 if image.mode in ("L", "P", "1") else np.int32)


def read_true_labels(record: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """The semantic truth of a record of a data set.

    Args:
        record: with `sem_seg_file_name`, and `file_name` for the error.
        size: (H, W) of its image.

    Returns:
        (H, W), as `read_label`.

    Raises:
        DataError: as `read_label`, no truth, or one of another size than the image.
    """
    if "sem_seg_file_name" not in record:
        raise DataError(f"{record['file_name']}: no semantic label (sem_seg_file_name) to compare with")
    labels = read_label(record["sem_seg_file_name"])
    if labels.shape != tuple(size):
        raise DataError(f"{record['sem_seg_file_name']}: labels of {labels.shape}, but its image is {size} (H, W)")
    return labels


def read_panoptic_ids(path: str | Path) -> np.ndarray:
    """Segment ids of a COCO panoptic PNG: R + 256 G + 65536 B.

    Returns:
        (H, W) int32, 0 = void.

    Raises:
        DataError: absent, unreadable, or not an RGB image.
    """
    with _open(path, LABEL_FORMATS) as image:
        if image.mode != "RGB":
            raise DataError(f"{path}: a panoptic PNG codes its ids as RGB, this is a {image.mode} image")
        # Four bytes a pixel, as Pillow holds them, are one number: R + 256 G + 65536 B, and padding on top.
        padded = np.frombuffer(image.tobytes("raw", "RGBX"), dtype="<u4").reshape(image.height, image.width)
    return (padded & 0xFFFFFF).view(np.int32)


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of what `read_image` returns, from the file's header alone."""
    with _open(path, IMAGE_FORMATS, decode=False) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in QUARTER_TURNS
        return (image.width, image.height) if turned else (image.height, image.width)


def _open(path: str | Path, formats: tuple[str, ...], decode: bool = True) -> Image.Image:
    try:
        image = Image.open(path, formats=formats)
        if decode:
            image.load()
        return image
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable image of {', '.join(formats)}: {error}") from None
