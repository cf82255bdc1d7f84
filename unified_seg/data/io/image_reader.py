"""Images as a model reads them: INPUT.FORMAT, the number of MODEL.PIXEL_MEAN, the range of values and the contrast."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from detectron2.config import CfgNode

from unified_seg.config import ConfigError
from unified_seg.data.io.image_files import BANDS, FORMATS, check_channels, read_image
from unified_seg.data.io.plain_images import decode_plain_image
from unified_seg.data.io.samples import Range
from unified_seg.hints import format_hint
from unified_seg_arrays.stretch import stretch_contrast

MOMENTS = ("PIXEL_MEAN", "PIXEL_STD")
# Formats whose channels can be stretched: neither alpha channels nor differences of colors among them.
STRETCHABLE = ("BGR", "RGB", "L", BANDS)


class ImageReader(NamedTuple):
    """A reader of images for a model; see `read_image` for the arguments."""

    format: str = "BGR"
    channels: int = 3
    value_range: Range | None = None
    default_range: Range | None = None
    percentiles: Range | None = None

    @property
    def lacks_range(self) -> bool:
        """Whether files with more than 8 bits that declare no range have none."""
        return self.value_range is None and self.default_range is None and self.percentiles is None

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "ImageReader":
        """Return the reader of a config.

        Raises:
            ConfigError: an unknown INPUT.FORMAT, or one with another number of channels than MODEL.PIXEL_MEAN or
                PIXEL_STD; an invalid range of values.
        """
        format, channels = cfg.INPUT.FORMAT, len(cfg.MODEL.PIXEL_MEAN)
        if format not in FORMATS:
            raise ConfigError(f"INPUT.FORMAT must be one of {', '.join(FORMATS)}, got {format!r}")
        if len(cfg.MODEL.PIXEL_STD) != channels:
            raise ConfigError(f"MODEL.PIXEL_MEAN has {channels} values, MODEL.PIXEL_STD {len(cfg.MODEL.PIXEL_STD)}")
        expected = FORMATS[format]
        if expected is not None and expected != channels:
            mean, deviation = ([round(float(np.mean(cfg.MODEL[key])), 3)] * expected for key in MOMENTS)
            other = next((name for name, number in FORMATS.items() if number == channels), BANDS)
            raise ConfigError(
                f"INPUT.FORMAT {format} has {expected} channels, MODEL.PIXEL_MEAN {channels} values; set "
                f"{format_hint('MODEL.PIXEL_MEAN', mean, 'MODEL.PIXEL_STD', deviation)}, or other means and "
                f"deviations, or {format_hint('INPUT.FORMAT', other)}"
            )
        return cls(
            format,
            channels,
            value_range=_read_range(cfg, "VALUE_RANGE"),
            default_range=_read_range(cfg, "DEFAULT_VALUE_RANGE"),
            percentiles=_read_percentiles(cfg),
        )

    def read(self, path: str | Path) -> np.ndarray:
        """Return an image (H, W, C) uint8; raises DataError, see `read_image`."""
        plain = decode_plain_image(path, self.format) if self.format in ("BGR", "RGB") else None
        return read_image(path, **self._asdict()) if plain is None else self.stretch(plain)

    def stretch(self, image: np.ndarray) -> np.ndarray:
        """Return an image (H, W, C) in this format with the contrast of INPUT.STRETCH_PERCENTILES."""
        if self.percentiles is None:
            return image
        return stretch_contrast(image, self.percentiles, by_channel=self.format == BANDS)

    def check(self, path: str | Path, decode: bool = False) -> None:
        """Check the channels of an image by its header, or read it whole to find damage; raises DataError."""
        if decode:
            read_image(path, **self._asdict())  # Pillow finds more damage than OpenCV
        else:
            check_channels(path, self.format, self.channels)


def _read_range(cfg: CfgNode, name: str) -> Range | None:
    values = cfg.INPUT[name]
    if not values:
        return None
    if len(values) != 2 or not values[0] < values[1]:
        raise ConfigError(f"INPUT.{name} must be [] or the lowest and the highest value, got {list(values)}")
    return float(values[0]), float(values[1])


def _read_percentiles(cfg: CfgNode) -> Range | None:
    key, values = "INPUT.STRETCH_PERCENTILES", cfg.INPUT.STRETCH_PERCENTILES
    if not values:
        return None
    if len(values) != 2 or not 0 <= values[0] < values[1] <= 100:
        raise ConfigError(f"{key} must be [] or two percentiles from 0 to 100 such as [1, 99.8], got {list(values)}")
    if values[1] <= 1:
        raise ConfigError(f"{key}: {list(values)} are percentiles below 1 %; write percent, such as [1, 99.8]")
    if cfg.INPUT.FORMAT not in STRETCHABLE:
        raise ConfigError(f"{key} needs INPUT.FORMAT to be one of {', '.join(STRETCHABLE)}, got {cfg.INPUT.FORMAT}")
    if cfg.INPUT.VALUE_RANGE:
        raise ConfigError(
            f"{key} takes each image's own range of values, INPUT.VALUE_RANGE one for all; set one of them"
        )
    return float(values[0]), float(values[1])
