"""The samples of image files that Pillow does not read whole: more than 8 bits a sample, floats, or many bands.

(H, W) = an image, C = its channels.
"""

import zlib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from unified_seg.data.problems import UnreadableError, UnsupportedError
from unified_seg_files import open_regular

Range = tuple[float, float]

# TIFF's numbers of tags.
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, ORIENTATION = 256, 257, 258, 259, 262, 273, 274
CHANNELS, STRIP_ROWS, STRIP_BYTES, MIN_VALUE, MAX_VALUE, PLANAR, PREDICTOR = 277, 278, 279, 280, 281, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES = 322, 323, 324, 325, 338
SAMPLE_FORMAT, S_MIN_VALUE, S_MAX_VALUE = 339, 340, 341
# The begin of a file with offsets of 64 bits.
BIG_TIFF = b"II+\0"
# Values of tags.
NO_COMPRESSION, DEFLATE = 1, (8, 32946)
RGB, SEPARATED = 2, 5
ALPHA = (1, 2)
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
# The depths of cameras, and all above: of an image that declares none, the smallest one that holds its values.
DEPTHS = (8, 10, 12, 14, *range(16, 64))


class Layout(NamedTuple):
    """How a file stores its pixels.

    Attributes:
        size: (height, width) as stored.
        orientation: the EXIF tag, 1 for upright; known for TIFF only.
        channels: C, with the alpha channel.
        has_alpha: the last channel is alpha.
        bits: of a sample.
        kind: UNSIGNED, SIGNED or FLOAT.
        declared: lowest and highest value by the file itself; None: it does not say.
        tags: of a TIFF.
    """

    size: tuple[int, int]
    channels: int
    has_alpha: bool = False
    bits: int = 8
    kind: int = UNSIGNED
    declared: Range | None = None
    orientation: int = 1
    tags: Mapping[int, Any] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether samples are bytes."""
        return self.bits <= 8 and self.kind == UNSIGNED

    @property
    def nominal(self) -> Range | None:
        """The range that the file declares, else that of the type of its samples; None for floats."""
        if self.declared is not None or self.kind == FLOAT:
            return self.declared
        return (0, 2**self.bits - 1) if self.kind == UNSIGNED else (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1)


def describe_layout(image: Image.Image) -> Layout:
    """Return the layout of an image that Pillow opened and did not decode yet."""
    tags = getattr(image, "tag_v2", None)
    if image.format == "TIFF" and tags is not None and image.mode != "P":
        return _describe_tiff(tags)
    size, orientation = (image.height, image.width), 1
    if image.format == "TIFF" and tags is not None:  # Pillow exchanges the sides of those to be turned
        size, orientation = (int(tags[HEIGHT]), int(tags[WIDTH])), int(tags.get(ORIENTATION, 1))
    bands = image.getbands() if image.mode not in ("P", "PA") else "RGB"
    has_alpha = image.has_transparency_data
    channels = len(bands) + (has_alpha and "A" not in bands)
    tiles = getattr(image, "tile", [])
    raw = tiles[0][3] if tiles else ""
    if image.format == "PPM" and isinstance(raw, tuple) and raw[1] > 255:
        # 65535 is what writers put for any image of 16 bits.
        return Layout(size, channels, has_alpha, 16, declared=None if raw[1] == 65535 else (0, raw[1]))
    is_deep = image.mode.startswith("I") or str(raw).endswith("16B")
    return Layout(size, channels, has_alpha, 16 if is_deep else 8, orientation=orientation)


def read_tiff_layout(path: str | Path) -> Layout | None:
    """Return the layout of a TIFF, whatever its pixels are; None for another file."""
    try:
        with open_regular(path) as file:
            header = file.read(8)
            if header[:4] not in (b"II*\0", b"MM\0*", BIG_TIFF):
                return None
            header += file.read(8) if header[:4] == BIG_TIFF else b""
            tags = TiffImagePlugin.ImageFileDirectory_v2(header)
            file.seek(tags.next)
            tags.load(file)
        layout = _describe_tiff(tags)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError):
        return None
    return layout if min(layout.size) > 0 and layout.channels > 0 else None


def _describe_tiff(tags: Mapping[int, Any]) -> Layout:
    channels, bits = int(tags.get(CHANNELS, 1)), max(_numbers(tags, BITS, 1))
    kind = _numbers(tags, SAMPLE_FORMAT, UNSIGNED)[0]
    colors = {RGB: 3, SEPARATED: 4}.get(tags.get(PHOTOMETRIC, 1), 1)
    has_alpha = channels == colors + 1 and _numbers(tags, EXTRA_SAMPLES, 0)[0] in ALPHA
    return Layout(
        (int(tags[HEIGHT]), int(tags[WIDTH])),
        channels,
        has_alpha,
        bits,
        kind if kind in (SIGNED, FLOAT) else UNSIGNED,
        _find_declared_range(tags, bits),
        int(tags.get(ORIENTATION, 1)),
        tags,
    )


def _find_declared_range(tags: Mapping[int, Any], bits: int) -> Range | None:
    for lowest, highest in ((S_MIN_VALUE, S_MAX_VALUE), (MIN_VALUE, MAX_VALUE)):
        if highest in tags:
            low, high = min(_numbers(tags, lowest, 0)), max(_numbers(tags, highest, 0))
            if high > low:
                return float(low), float(high)
    return (0, 2**bits - 1) if 8 < bits < 16 else None


def _numbers(tags: Mapping[int, Any], tag: int, default: int) -> tuple[Any, ...]:
    value = tags.get(tag, default)
    return value if isinstance(value, tuple) else (value,)


def read_samples(path: str | Path, image: Image.Image | None, layout: Layout) -> np.ndarray:
    """Return the samples of an image as stored, colors as RGB.

    Args:
        path: the file.
        image: as Pillow opened it; None: Pillow does not read it.
        layout: of the file.

    Returns:
        (H, W, C), numbers of any type.

    Raises:
        UnreadableError: a damaged file.
        UnsupportedError: a compression of many bands that nobody here reads.
    """
    if image is not None:
        image.load()  # finds damage, which OpenCV would fill
        if layout.is_plain and image.mode in ("P", "PA", "1"):
            mode = "L" if image.mode == "1" else "RGBA" if layout.has_alpha else "RGB"
            return read_stored_array(image, layout.orientation, mode)
        is_whole = layout.is_plain or (layout.channels == 1 and layout.bits in (12, 16) and layout.kind == UNSIGNED)
        if is_whole and image.format != "PPM" and len(image.getbands()) == layout.channels:
            return read_stored_array(image, layout.orientation)
    found = None if layout.tags is None else _read_tiff(Path(path), layout)
    return _read_by_opencv(Path(path), layout) if found is None else found


def read_stored_array(image: Image.Image, orientation: int, mode: str | None = None) -> np.ndarray:
    """Return an image, or a page of a TIFF, that Pillow reads whole as (H, W, C) before it is turned.

    Args:
        image: as Pillow opened it.
        orientation: the tag of a TIFF; 1 for other files.
        mode: Pillow's, to which it is converted; None: its own.
    """
    image.load()
    samples = np.asarray(image.convert(mode) if mode else image)
    samples = samples.reshape(*samples.shape[:2], -1)
    # Newer versions of Pillow turn a TIFF when they load it, and take the tag away.
    is_turned = orientation != 1 and ORIENTATION not in getattr(image, "tag_v2", {ORIENTATION})
    return rotate_upright(samples, {6: 8, 8: 6}.get(orientation, orientation)) if is_turned else samples


def _read_by_opencv(path: Path, layout: Layout) -> np.ndarray:
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    known = layout.channels in (1, 3, 4)
    samples: Any = cv2.imdecode(np.fromfile(path, dtype=np.uint8), flags) if known else None
    if samples is None:
        cause = f"{layout.channels} channels of {layout.bits} bits with this compression; save it without compression"
        raise UnsupportedError(f"{path}: unsupported: {cause}")
    samples = samples.reshape(*samples.shape[:2], -1)
    if layout.tags is not None:  # OpenCV turns a TIFF, whatever the flags
        samples = rotate_upright(samples, {6: 8, 8: 6}.get(layout.orientation, layout.orientation))
    if samples.dtype == np.uint16 and layout.bits < 16:
        samples = samples >> (16 - layout.bits)  # OpenCV fills 16 bits
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(samples.shape[2], [0])
    return samples[..., order]


def _read_tiff(path: Path, layout: Layout) -> np.ndarray | None:
    """Return (H, W, C) of a TIFF in strips or tiles without compression or with deflate; None for others."""
    tags = layout.tags
    assert tags is not None
    compression, predictor = int(tags.get(COMPRESSION, 1)), int(tags.get(PREDICTOR, 1))
    is_known = compression in (NO_COMPRESSION, *DEFLATE) and predictor in (1, 2)
    if not is_known or layout.bits not in (8, 16, 32, 64):
        return None
    (height, width), planes = layout.size, layout.channels if int(tags.get(PLANAR, 1)) == 2 else 1
    dtype = np.dtype(f"{'>' if tags.prefix == b'MM' else '<'}{'uif'[layout.kind - 1]}{layout.bits // 8}")  # type: ignore[attr-defined]
    is_tiled = TILE_OFFSETS in tags
    block = (
        (int(tags[TILE_HEIGHT]), int(tags[TILE_WIDTH]))
        if is_tiled
        else (min(int(tags.get(STRIP_ROWS, height)), height), width)
    )
    offsets = _numbers(tags, TILE_OFFSETS if is_tiled else STRIP_OFFSETS, 0)
    lengths = _numbers(tags, TILE_BYTES if is_tiled else STRIP_BYTES, 0)
    samples = np.empty((height, width, layout.channels), dtype=dtype.newbyteorder("="))
    corners = list(product(range(planes), range(0, height, block[0]), range(0, width, block[1])))
    if len(offsets) != len(corners) or len(lengths) != len(corners):
        raise UnreadableError(f"{path}: {len(offsets)} strips or tiles, expected {len(corners)}")
    try:
        with open_regular(path) as file:
            for (plane, top, left), offset, length in zip(corners, offsets, lengths):
                file.seek(offset)
                data = file.read(length)
                data = zlib.decompress(data) if compression != NO_COMPRESSION else data
                rows = block[0] if is_tiled else min(block[0], height - top)
                part = np.frombuffer(data, dtype, rows * block[1] * layout.channels // planes)
                part = part.reshape(rows, block[1], layout.channels // planes)
                if predictor == 2:
                    part = np.cumsum(part, axis=1, dtype=part.dtype)
                target = samples[top : top + rows, left : left + block[1], plane : plane + 1 if planes > 1 else None]
                target[:] = part[: target.shape[0], : target.shape[1]]
    except (OSError, ValueError, zlib.error) as error:
        raise UnreadableError(f"{path}: its pixels can't be read: {error}") from None
    return samples


def rotate_upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Return an array (H, W, ...) rotated and mirrored as its EXIF tag says."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    # After the exchange of the axes 5 is done, 6 still mirrored, 8 upside down.
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
    return np.flip(samples, flips.get(orientation, ()))


def find_range(samples: np.ndarray) -> Range | None:
    """Return the range of values of an array that declares none.

    Returns:
        Of whole numbers from 0 on, that of the smallest of DEPTHS that holds them; else None.
    """
    low, high = measure(samples)
    return guess_range(low, high, samples.dtype.kind == "f")


def guess_range(low: float, high: float, is_float: bool) -> Range | None:
    """Return the range of values between `low` and `high`, see `find_range`."""
    if is_float or low < 0:
        return None
    return 0, 2 ** next((bits for bits in DEPTHS if high < 2**bits), 64) - 1


def measure(samples: np.ndarray) -> Range:
    """Return the lowest and highest value, without NaN and infinity; (0, 0) if there is no other."""
    if samples.dtype.kind == "f":
        samples = samples[np.isfinite(samples)]
    return (float(samples.min()), float(samples.max())) if samples.size else (0.0, 0.0)


def scale_to_bytes(samples: np.ndarray, values: Range) -> np.ndarray:
    """Return uint8: the lowest value of a range becomes 0, the highest 255, in equal steps; NaN becomes 0.

    Of 16 bits these are the higher 8, of 12 bits too.
    """
    low, high = values
    if samples.dtype.kind != "f" and float(low).is_integer() and float(high).is_integer():
        wide = (samples.astype(np.int64) - int(low)) * 256 // (int(high) - int(low) + 1)
        return wide.clip(0, 255).astype(np.uint8)
    shares = (samples.astype(np.float64) - low) / (high - low)
    return (np.nan_to_num(shares, nan=0.0) * 256).clip(0, 255).astype(np.uint8)
