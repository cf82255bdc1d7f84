"""Opening image files with Pillow, up to a limit of pixels, with errors that tell damaged files from other kinds.

A file of a few kilobytes can claim more pixels than memory holds.
"""

import errno
import os
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from unified_seg.data.problems import MissingFileError, UnreadableError, UnsupportedError
from unified_seg.hints import format_hint
from unified_seg_files import check_regular, open_regular

# Pillow warns from this number on: 9,459 x 9,459.
DEFAULT_MAX_PIXELS = 89_478_485
# The limit is that of the process, as Pillow's is; a variable of the environment, so that its workers have it too.
VARIABLE = "UNIFIED_SEG_MAX_PIXELS"
ADVICE = "INPUT.MAX_PIXELS (--max-pixels of convert_dataset.py and fuse_predictions.py) raises it"
# What Pillow raises for files that are damaged or not images.
UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# How files of other kinds than expected start, at which byte.
SIGNATURES = {
    (0, b"\x89PNG"): "PNG",
    (0, b"\xff\xd8\xff"): "JPEG",
    (8, b"WEBP"): "WEBP",
    (0, b"BM"): "BMP",
    (0, b"GIF8"): "GIF",
    (0, b"\0\0\0\x0cjP"): "JPEG 2000",
    (0, b"\xff\x4f\xff\x51"): "JPEG 2000",
    (4, b"ftyp"): "HEIF, AVIF or video",
    (0, b"%PDF"): "PDF",
    (0, b"8BPS"): "Photoshop",
    (0, b"\x76\x2f\x31\x01"): "OpenEXR",
}  # fmt: skip


def open_image(path: str | Path, formats: tuple[str, ...], decode: bool = True) -> Image.Image:
    """Open an image file.

    Args:
        path: the file.
        formats: Pillow's names of the formats that are read.
        decode: read the pixels too; else the header.

    Raises:
        MissingFileError: there is no such file.
        UnreadableError: it is damaged, or has more pixels than INPUT.MAX_PIXELS.
        UnsupportedError: it is a file of another format.
    """
    get_max_pixels()  # tells Pillow, which has a limit too
    try:
        check_regular(path)
        image = Image.open(path, formats=formats)
    except FileNotFoundError:
        raise MissingFileError(f"{path}: there is no such file") from None
    except Image.DecompressionBombError as error:
        raise UnreadableError(f"{path}: {error} {ADVICE}") from None
    except UNREADABLE as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            raise  # of this process, not of the file
        if (kind := _recognize(path)) not in (None, *formats):
            expected = ", ".join(formats)
            raise UnsupportedError(f"{path}: unsupported: a {kind} file, expected {expected}; convert it") from None
        raise UnreadableError(f"{path}: not a readable image of {', '.join(formats)}: {error}") from None
    if image.format == "TIFF":
        image.filename = ""  # Pillow 13 maps files that it can name into memory, those to be turned with wrong sides
    check_pixels(path, image.height, image.width)
    if decode:
        load_pixels(image, path)
    return image


def load_pixels(image: Image.Image, path: str | Path) -> None:
    """Decode an opened image; raises UnreadableError."""
    try:
        image.load()
    except UNREADABLE as error:
        raise UnreadableError(f"{path}: not a readable image: {error}") from None


def check_pixels(path: str | Path, height: int, width: int) -> None:
    """Raise UnreadableError for an image with more pixels than INPUT.MAX_PIXELS."""
    if height * width > get_max_pixels():
        raise UnreadableError(f"{path}: {describe_pixels(height, width)}")


def _recognize(path: str | Path) -> str | None:
    """Return the format of a file by its first bytes; None: unknown."""
    try:
        with open_regular(path) as file:
            start = file.read(16)
    except OSError:
        return None
    return next((kind for (at, sign), kind in SIGNATURES.items() if start[at : at + len(sign)] == sign), None)


def set_max_pixels(limit: int) -> None:
    """Set the limit, in pixels, of this process and of the workers that it starts."""
    os.environ[VARIABLE] = str(limit)


def get_max_pixels() -> int:
    """Return the limit in pixels, and give it to Pillow if it is above the default."""
    limit = int(os.environ.get(VARIABLE, DEFAULT_MAX_PIXELS))
    if limit > DEFAULT_MAX_PIXELS:
        Image.MAX_IMAGE_PIXELS = limit
    return limit


def describe_pixels(height: int, width: int) -> str:
    """Return the cause for errors of an image that is too large."""
    key, option = (format_hint(name, height * width) for name in ("INPUT.MAX_PIXELS", "--max-pixels"))
    raised = f"{key} raises it, or {option} of convert_dataset.py and fuse_predictions.py"
    return f"{height}x{width} pixels, more than the limit of {get_max_pixels()}; {raised}"
