"""Parallel writing of the missing images of a data set, if it reads others than those of the download."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from unified_seg.data.io.parallel import map_in_parallel
from unified_seg_files import write_atomically


def write_images(
    images: Sequence[tuple[Path, Path]], read: Callable[[Path], np.ndarray], workers: int, title: str
) -> int:
    """Write the images that are missing as PNGs; return the number of files written.

    Args:
        images: pairs of the downloaded file and the file to write.
        read: returns the (H, W, 3) uint8 RGB image to write for a downloaded file.
        workers: number of processes.
        title: title of the progress bar.

    Raises:
        DataError: raised by `read`.
    """
    missing = [pair for pair in images if not pair[1].is_file()]
    map_in_parallel(partial(_write_image, read), missing, workers, title)
    return len(missing)


def _write_image(read: Callable[[Path], np.ndarray], files: tuple[Path, Path]) -> None:
    source, target = files
    image = Image.fromarray(read(source))
    with write_atomically(target) as temporary:
        image.save(temporary, format="PNG")
