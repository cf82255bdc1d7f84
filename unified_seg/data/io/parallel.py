"""Work on many files in several processes, with a progress bar."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TypeVar

from tqdm import tqdm

from unified_seg.data.problems import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")

# As PyTorch's loaders do: where forking is safe it spares every process the imports.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


def map_in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str
) -> list[Result]:
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
            f"{title}: a process was ended, for want of memory perhaps; run it again with fewer --workers"
        ) from None


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, killed: it would wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
