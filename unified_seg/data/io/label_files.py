"""Reading and writing maps of ids: label files and COCO's panoptic PNGs. Every error names the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unified_seg.data.io.open_image import load_pixels, open_image
from unified_seg.data.problems import DataError, SizeError
from unified_seg_files import write_atomically

LABEL_FORMATS = ("PNG", "BMP", "TIFF")
# What Pillow multiplies grays of 2 and 4 bits by.
SCALES = {"L;2": 85, "L;4": 17}
MAX_SEGMENT_ID = 2**24 - 1  # what an RGB pixel holds


def read_label(path: str | Path) -> np.ndarray:
    """Return a map of ids: the values of a grayscale image, the indices (not the colors) of a palette image.

    Returns:
        (H, W) uint8 if the file has up to 8 bits a pixel, else int32.

    Raises:
        DataError: absent, unreadable, or a color image.
    """
    with open_image(path, LABEL_FORMATS, decode=False) as image:
        tiles = getattr(image, "tile", [])  # empty once the pixels are loaded
        load_pixels(image, path)
        if image.mode not in ("L", "P", "1", "I", "I;16", "I;16B"):
            raise DataError(f"{path}: a label map has one channel of ids, got a {image.mode} image")
        ids = np.array(image, dtype=np.uint8 if image.mode in ("L", "P", "1") else np.int32)
        scale = SCALES.get(str(tiles[0][3])) if tiles else None
        return ids if scale is None else ids // scale


def replace_segments(ids: np.ndarray, record: Mapping[str, Any]) -> np.ndarray:
    """Return a panoptic map in which the ids of the record's `replaced_segments` have their new values.

    Args:
        ids: (H, W), as read.
        record: a class map may have merged segments and made some void.
    """
    replaced = record.get("replaced_segments")
    if not replaced:
        return ids
    known = np.array(sorted(replaced), dtype=ids.dtype)
    values = np.array([replaced[i] for i in known.tolist()], dtype=ids.dtype)
    place = np.searchsorted(known, ids).clip(max=len(known) - 1)
    return np.where(known[place] == ids, values[place], ids)


def read_panoptic_ids(path: str | Path) -> np.ndarray:
    """Return the segment ids of a COCO panoptic PNG: R + 256 G + 65536 B.

    Returns:
        (H, W) int32, 0 = void.

    Raises:
        DataError: absent, unreadable, or not an RGB image.
    """
    with open_image(path, LABEL_FORMATS) as image:
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
    write_array_png(path, ids)


def write_array_png(path: Path, pixels: np.ndarray, compress_level: int = 1) -> None:
    """Write an array as a PNG as it is, such as a label map (H, W) of uint8 or uint16.

    Args:
        path: its folder is created if need be.
        pixels: of a type that PNGs hold.
        compress_level: the strongest compression, 9, takes several times as long and gains little on maps of ids.
    """
    with write_atomically(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=compress_level)
