"""The largest number of pixels of an image, INPUT.MAX_PIXELS.

A file of a few kilobytes can claim more pixels than memory holds.
"""

import os

from PIL import Image

from unified_seg.hints import format_hint

# Pillow warns from this number on: 9,459 x 9,459.
DEFAULT_MAX_PIXELS = 89_478_485
# The limit is that of the process, as Pillow's is; a variable of the environment, so that its workers have it too.
VARIABLE = "UNIFIED_SEG_MAX_PIXELS"
ADVICE = "INPUT.MAX_PIXELS (--max-pixels of convert_dataset.py and fuse_predictions.py) raises it"


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
