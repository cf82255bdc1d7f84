"""Processing many files in several processes, with a progress bar."""

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
from unified_seg.hints import format_hint

Item = TypeVar("Item")
Result = TypeVar("Result")

# As PyTorch's loaders: where forking is safe, processes need not import everything again.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"


def map_in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str
) -> list[Result]:
    """Return the results of a function for all items, in order, with a progress bar; the first error ends it.

    Args:
        function: with several workers it must be picklable, as must items and results.
        items: its arguments.
        workers: processes; with one, everything runs in this process.
        title: of the bar.

    Raises:
        DataError: a process was killed, perhaps because memory ran out; and what `function` raises.
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
            f"{title}: a process was killed, perhaps because memory ran out; run again with "
            f"{format_hint('--workers', max(workers // 2, 1))}"
        ) from None


def _end_with(parent: int) -> None:
    """End this process when its parent was killed: it would wait for work forever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
