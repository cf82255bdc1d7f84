"""Making the label maps of a data set in parallel, those that are not there yet."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unified_seg.data.io.image_files import check_size, read_image_header, write_png
from unified_seg.data.io.parallel import map_in_parallel


class Label(NamedTuple):
    """A label map to make.

    Attributes:
        image: its image.
        sources: the files that it is made from.
        output: its PNG.
    """

    image: Path
    sources: tuple[Path, ...]
    output: Path


def write_labels(labels: Sequence[Label], read: Callable[..., np.ndarray], workers: int, title: str) -> int:
    """Write those PNGs that are not there.

    Args:
        labels: all of the split.
        read: gives the (H, W) map of ids, as `write_png` takes it, of a label's sources.
        workers: processes.
        title: of the progress bar.

    Returns:
        How many were written.

    Raises:
        DataError: of `read`, or a map of another size than its image as it is stored.
    """
    missing = [label for label in labels if not label.output.is_file()]
    map_in_parallel(partial(_write_label, read), missing, workers, title)
    return len(missing)


def available(labels: Sequence[Label]) -> list[Label]:
    """Those whose image and sources are there, of part of a data set."""
    return [label for label in labels if all(file.is_file() for file in (label.image, *label.sources))]


def _write_label(read: Callable[..., np.ndarray], label: Label) -> None:
    height, width, _ = read_image_header(label.image)
    write_png(label.output, check_size(read(*label.sources), (height, width), label.sources[0]))
