"""Parallel writing of the missing label maps of a data set."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unified_seg.data.io.image_files import read_image_header
from unified_seg.data.io.label_files import check_size, write_png
from unified_seg.data.io.parallel import map_in_parallel


class Label(NamedTuple):
    """A label map to write.

    Attributes:
        image: the image of the label map.
        sources: the files that the label map is made from.
        output: the PNG to write.
    """

    image: Path
    sources: tuple[Path, ...]
    output: Path


def write_labels(labels: Sequence[Label], read: Callable[..., np.ndarray], workers: int, title: str) -> int:
    """Write the PNGs that are missing.

    Args:
        labels: all label maps of the split.
        read: returns the (H, W) map of ids for the sources of a label map, in a form that `write_png` accepts.
        workers: number of processes.
        title: title of the progress bar.

    Returns:
        The number of files written.

    Raises:
        DataError: raised by `read`, or a map has another size than its stored image.
    """
    missing = [label for label in labels if not label.output.is_file()]
    map_in_parallel(partial(_write_label, read), missing, workers, title)
    return len(missing)


def select_available(labels: Sequence[Label]) -> list[Label]:
    """Return the label maps whose image and sources exist."""
    return [label for label in labels if all(file.is_file() for file in (label.image, *label.sources))]


def _write_label(read: Callable[..., np.ndarray], label: Label) -> None:
    height, width, _ = read_image_header(label.image)
    write_png(label.output, check_size(read(*label.sources), (height, width), label.sources[0]))
