"""Reading images. Every error names the file."""

import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from detectron2.data.detection_utils import convert_image_to_rgb, convert_PIL_to_numpy
from PIL import ExifTags, Image, ImageOps, ImageSequence

from unified_seg.data.io.open_image import UNREADABLE, check_pixels, load_pixels, open_image
from unified_seg.data.io.samples import (
    FLOAT,
    Layout,
    Range,
    describe_layout,
    find_range,
    measure,
    read_samples,
    read_stored_array,
    read_tiff_layout,
    rotate_upright,
    scale_to_bytes,
)
from unified_seg.data.problems import DataError, UnreadableError, UnsupportedError
from unified_seg.hints import format_hint
from unified_seg_arrays.stretch import stretch_contrast
from unified_seg_files import open_regular

logger = logging.getLogger(__name__)
# It logs as errors what it raises too, such as TIFFs of many bands, which are read without it.
logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
_warned: set[tuple[Path, str]] = set()

# Pillow opens more formats than these, some through outside programs (EPS runs Ghostscript).
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM")
# The suffixes of their files.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
# EXIF orientations that exchange height and width.
QUARTER_TURNS = (5, 6, 7, 8)
# The keywords of the texts in which PNGs keep EXIF tags, beside the chunk eXIf.
PNG_TEXTS = (b"Raw profile type exif", b"XML:com.adobe.xmp")
# What a model can read, INPUT.FORMAT, and its number of channels; None: as many as MODEL.PIXEL_MEAN has. "L" is gray,
# "BANDS" the channels of the file as they are stored.
BANDS = "BANDS"
FORMATS: dict[str, int | None] = {"BGR": 3, "RGB": 3, "L": 1, "RGBA": 4, "YUV-BT.601": 3, BANDS: None}
# Pictures for people are stretched to these percentiles if the second one is below this value.
SEEN_PERCENTILES, DARK = (1.0, 99.8), 100
# The weights of red, green and blue in gray, of ITU-R 601, as Pillow has them.
LUMA = np.array([[0.299], [0.587], [0.114]])


def read_image(
    path: str | Path,
    format: str = "BGR",
    *,
    channels: int = 3,
    value_range: Range | None = None,
    default_range: Range | None = None,
    percentiles: Range | None = None,
) -> np.ndarray:
    """Return an image in the order of channels that the model expects, rotated upright by its EXIF tag.

    Images with more than 8 bits are brought to 8: the range of their values is `value_range`, else the one that the
    file declares, else `default_range`, else, of whole numbers, that of the smallest usual depth that holds the values
    of the image (10, 12, 14, 16 bits ...), which is logged. An alpha channel is dropped, which is logged too. With
    percentiles, images of any depth are stretched instead; bands each on its own.

    Args:
        path: a file in one of IMAGE_FORMATS.
        format: of FORMATS.
        channels: with the format "BANDS", the number of bands.
        value_range: the lowest and the highest value, of all files with more than 8 bits.
        default_range: the same, of files that declare none.
        percentiles: see `stretch_contrast`.

    Returns:
        (H, W, C) uint8.

    Raises:
        DataError: absent, unreadable, or not an image.
        UnsupportedError: another number of channels; floats or negative values of unknown range.
    """
    image, layout = _open_image(path)
    _check_channels(path, image, layout, format, channels)
    if image is None or format == BANDS or not layout.is_plain:
        samples = _read_bands(path, image, layout, channels if format == BANDS else None)
        if format not in (BANDS, "RGBA"):
            samples = samples[..., : 3 if samples.shape[2] >= 3 else 1]
        if percentiles is not None:
            samples = samples @ LUMA if format == "L" and samples.shape[2] == 3 else samples
            samples = stretch_contrast(samples, percentiles, by_channel=format == BANDS)
        elif samples.dtype != np.uint8:
            known = value_range or layout.declared or default_range
            samples = scale_to_bytes(samples, known or _find_range(path, samples))
        if format == BANDS:
            return np.ascontiguousarray(samples)
        image = Image.fromarray(np.ascontiguousarray(samples if samples.shape[2] > 1 else samples[..., 0]))
        return np.array(convert_PIL_to_numpy(image, format), order="C")
    with image as stored:
        load_pixels(stored, path)
        try:
            ImageOps.exif_transpose(stored, in_place=True)  # else it copies upright images
        except UNREADABLE as error:
            raise UnreadableError(f"{path}: its EXIF tags can't be read: {error}") from None
        # A copy: Pillow's memory is read-only, of which torch warns.
        found = np.array(convert_PIL_to_numpy(stored, format), order="C")
    return found if percentiles is None else stretch_contrast(found, percentiles)


def read_picture(path: str | Path) -> np.ndarray:
    """Return an image as a picture for people, whatever a model reads of it: of many bands the first three.

    One without bright pixels, as of a microscope, is brightened, so that something can be seen.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        DataError: absent, unreadable, or not an image.
    """
    try:
        picture = read_image(path, "RGB")
    except UnsupportedError:
        image, layout = _open_image(path)
        samples = _read_bands(path, image, layout)
        low, high = measure(samples)
        return convert_to_picture(scale_to_bytes(samples, (low, max(high, low + 1e-9))), BANDS)
    is_dark = np.count_nonzero(picture >= DARK) < (1 - SEEN_PERCENTILES[1] / 100) * picture.size
    return stretch_contrast(picture, SEEN_PERCENTILES) if is_dark else picture


def convert_to_picture(image: np.ndarray, format: str) -> np.ndarray:
    """Return an image (H, W, C) of one of FORMATS as RGB (H, W, 3) uint8; of many bands the first three."""
    if image.shape[2] < 3:
        return np.repeat(image[..., :1], 3, axis=2)
    if format in (BANDS, "RGBA"):
        return np.ascontiguousarray(image[..., :3])
    return np.ascontiguousarray(convert_image_to_rgb(image, format).astype(np.uint8))


def read_used_share(path: str | Path, image: np.ndarray, value_range: Range | None = None) -> float:
    """Return the share of the possible values between an image's lowest and highest value.

    Args:
        path: the file.
        image: as `read_image` returns it, whose values are used if they are those of the file.
        value_range: the possible values; None: those that the file declares, or all of its type; of floats its own.
    """
    stored, layout = _open_image(path)
    if layout.is_plain:
        return float(np.ptp(image)) / 255
    low, high = measure(_read_bands(path, stored, layout))
    lowest, highest = value_range or layout.nominal or (low, high)
    return (high - low) / (highest - lowest) if highest > lowest else 0.0


class StoredValues(NamedTuple):
    """The values of an image with more than 8 bits.

    Attributes:
        low, high: the range that the file declares, else the lowest and the highest value that it has.
        is_declared: which of the two.
        is_float: they are floats.
    """

    low: float
    high: float
    is_declared: bool
    is_float: bool


def read_stored_values(path: str | Path) -> StoredValues | None:
    """Return the values of an image; None for one with 8 bits. Pixels are only read of files without a declared range.

    Raises:
        DataError: absent or unreadable.
    """
    image, layout = _open_image(path)
    if layout.is_plain:
        return None
    low, high = layout.declared or measure(_read_bands(path, image, layout))
    return StoredValues(low, high, layout.declared is not None, layout.kind == FLOAT)


def check_channels(path: str | Path, format: str, channels: int) -> None:
    """Check by its header that an image has the channels that a model reads, see `read_image`.

    Raises:
        DataError: absent or not an image.
        UnsupportedError: another number of channels.
    """
    _check_channels(path, *_open_image(path), format, channels)


def _check_channels(path: str | Path, image: Image.Image | None, layout: Layout, format: str, channels: int) -> None:
    if format == BANDS:
        pages = _count_pages(image)
        if channels not in (layout.channels, pages * layout.channels):
            found = f"{layout.channels} channels" + f" on each of {pages} pages" * (pages > 1)
            raise UnsupportedError(f"{path}: unsupported: {found}, the model reads {channels} (MODEL.PIXEL_MEAN)")
        return
    is_converted = image is not None and image.mode in ("CMYK", "YCbCr", "LAB")
    if layout.channels - layout.has_alpha not in (1, 3) and not is_converted:
        reads = FORMATS[format]
        means, deviations = [127.5] * layout.channels, [63.75] * layout.channels
        bands = format_hint("INPUT.FORMAT", BANDS, "MODEL.PIXEL_MEAN", means, "MODEL.PIXEL_STD", deviations)
        raise UnsupportedError(
            f"{path}: unsupported: {layout.channels} channels, the model reads {reads} (INPUT.FORMAT {format}); to "
            f"read them all, set {bands}, or other means and deviations"
        )
    if layout.has_alpha and format != "RGBA":
        _warn_once(path, "an alpha channel, which is dropped")
    if (pages := _count_pages(image)) > 1:
        _warn_once(path, f"{pages} pages or frames, of which the first is read")


def _count_pages(image: Image.Image | None) -> int:
    """Return the number of images of a file; JPEGs of cameras may hold further sizes, which do not count."""
    try:
        return 1 if image is None or image.format == "MPO" else getattr(image, "n_frames", 1)
    except UNREADABLE:
        return 1


def _read_bands(path: str | Path, image: Image.Image | None, layout: Layout, channels: int | None = None) -> np.ndarray:
    """Return (H, W, C) upright samples of any type; with `channels`, pages of a TIFF are channels if needed."""
    try:
        samples = read_samples(path, image, layout)
        if channels is not None and image is not None and samples.shape[2] != channels:
            pages = [read_stored_array(page, layout.orientation) for page in ImageSequence.Iterator(image)]
            samples = np.concatenate(pages, axis=2)
        orientation = layout.orientation
        if image is not None and image.format != "TIFF":
            orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except UNREADABLE as error:
        if isinstance(error, DataError):
            raise
        raise UnreadableError(f"{path}: not a readable image: {error}") from None
    return rotate_upright(samples, orientation)


def _find_range(path: str | Path, samples: np.ndarray) -> Range:
    found = find_range(samples)
    if found is None:
        kind = "a floating-point image" if samples.dtype.kind == "f" else "an image with negative values"
        own = format_hint("INPUT.VALUE_RANGE", list(measure(samples)))
        raise UnsupportedError(f"{path}: {kind}, which has no defined white level; set one, its own is {own}")
    if found[1] < 65535:
        same = format_hint("INPUT.VALUE_RANGE", [0, int(found[1])])
        _warn_once(path, f"more than 8 bits, of which {found[1]:.0f} is taken as white; {same} does so for all images")
    return found


def _warn_once(path: str | Path, cause: str) -> None:
    """Log what is done with an image, once for each folder."""
    if (key := (Path(path).parent, re.sub(r"\d+", "", cause))) not in _warned:
        _warned.add(key)
        logger.warning(f"{path} has {cause}; other such images of this folder are not logged")


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
    opened, layout = _open_image(path)
    if opened is None or opened.format == "TIFF":
        return *layout.size, layout.orientation
    with opened as image:
        if image.format == "PNG" and not _may_have_orientation(path):
            return image.height, image.width, 1  # else Pillow decodes all pixels to look for the tag behind them
        try:
            return image.height, image.width, int(image.getexif().get(ExifTags.Base.Orientation, 1))
        except UNREADABLE as error:
            raise UnreadableError(f"{path}: its EXIF tags can't be read: {error}") from None


def _may_have_orientation(path: str | Path) -> bool:
    """Return whether a PNG has a chunk with EXIF tags, before or behind its pixels."""
    with open_regular(path) as file:
        raw: Any = file.raw  # without a buffer, which would read what is between
        place = 8
        while raw.seek(place) and len(head := raw.read(32) or b"") >= 8:
            kind = head[4:8]
            if kind == b"eXIf" or (kind.endswith(b"Xt") and head[8:].startswith(PNG_TEXTS)):
                return True
            place += 12 + int.from_bytes(head[:4], "big")
    return False


def _open_image(path: str | Path) -> tuple[Image.Image | None, Layout]:
    """Return an image that is not decoded yet, or None for a TIFF that Pillow does not read, and its layout."""
    try:
        image = open_image(path, IMAGE_FORMATS, decode=False)
    except UnreadableError:
        layout = read_tiff_layout(path)
        if layout is None:
            raise
        check_pixels(path, *layout.size)
        return None, layout
    return image, describe_layout(image)
