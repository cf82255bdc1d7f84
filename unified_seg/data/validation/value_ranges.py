"""The range of values of training images with more than 8 bits whose files do not declare it."""

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from unified_seg.data.io.image_files import StoredValues, read_stored_values
from unified_seg.data.io.samples import Range, guess_range
from unified_seg.data.problems import DataError

# The suffixes of formats that may have more than 8 bits; files of others are not opened.
DEEP_SUFFIXES = (".png", ".tif", ".tiff", ".ppm", ".pgm")

logger = logging.getLogger(__name__)


def find_common_range(records: Sequence[dict[str, Any]], workers: int = 8) -> Range | None:
    """Return the range of values of all images that declare none, and log it; None without such an image.

    Only the headers of other images are read. Of whole numbers from 0 on the range ends at the highest value of the
    smallest usual depth that holds all of them, such as 4095; of floats in [0, 1] it is this; of others it is from
    their lowest to their highest value.

    Args:
        records: of data sets; unreadable images are left out, other checks report them.
        workers: threads.
    """
    files = list(dict.fromkeys(str(record["file_name"]) for record in records))
    files = [file for file in files if Path(file).suffix.lower() in DEEP_SUFFIXES]
    with ThreadPoolExecutor(workers) as pool:
        bar = tqdm(pool.map(_read, files), "ranges of values", len(files), unit="img", leave=False, disable=None)
        found = [values for values in bar if values is not None]
    declared = Counter((values.low, values.high) for values in found if values.is_declared)
    for (low, high), count in declared.items():
        logger.info(f"{count} images declare the range of their values, {low:g} to {high:g}, which becomes 0 to 255")
    found = [values for values in found if not values.is_declared]
    if not found:
        return None
    low, high = min(values.low for values in found), max(values.high for values in found)
    is_float = any(values.is_float for values in found)
    is_share = is_float and low >= 0 and high <= 1
    common = (0.0, 1.0) if is_share else guess_range(low, high, is_float) or (low, max(high, low + 1))
    logger.info(
        f"INPUT.DEFAULT_VALUE_RANGE: {common[0]:g} to {common[1]:g} become 0 to 255, in {len(found)} images with more "
        f"than 8 bits that do not declare their range; their values are from {low:g} to {high:g}"
    )
    return common


def _read(file: str) -> StoredValues | None:
    try:
        return read_stored_values(file)
    except DataError:
        return None
