"""Making the label maps of a data set in parallel, those that are not there yet."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from unified_seg.data.preparation.files import write_png
from unified_seg.data.reading import DataError, image_header, of_size

Item = TypeVar("Item")
Result = TypeVar("Result")

# As PyTorch's loaders do: where forking is safe it spares every process the imports.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


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
    in_parallel(partial(_write_label, read), missing, workers, title)
    return len(missing)


def available(labels: Sequence[Label]) -> list[Label]:
    """Those whose image and sources are there, of part of a data set."""
    return [label for label in labels if all(file.is_file() for file in (label.image, *label.sources))]


def _write_label(read: Callable[..., np.ndarray], label: Label) -> None:
    height, width, _ = image_header(label.image)
    write_png(label.output, of_size(read(*label.sources), (height, width), label.sources[0]))


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str) -> list[Result]:
    """The results for all items, in order, with a progress bar; the first error ends it.

    Args:
        function: can be pickled, as can items and results, if there are several workers.
        items: what it is called with.
        workers: processes; with one, everything runs in this one.
        title: of the bar.

    Raises:
        DataError: a process was ended from outside, for want of memory perhaps; and what `function` raises.
    """
    if not items:
        return []
    progress = partial(tqdm, total=len(items), desc=title, unit="file", disable=None)
    if workers == 1:
        return list(progress(map(function, items)))
    context = multiprocessing.get_context(START_METHOD)
    try:
        with ProcessPoolExecutor(min(workers, len(items)), context, _end_with, (os.getpid(),)) as pool:
            return list(progress(pool.map(function, items, chunksize=4)))
    except BrokenProcessPool:
        raise DataError(
            f"{title}: a process was ended, for want of memory perhaps; run it again with fewer --workers, it goes on"
        ) from None


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, killed: it would wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
