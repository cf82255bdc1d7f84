"""Reading, predicting and writing of several images at the same time, in threads.

While the network runs on one image, the next ones are read and the last ones are drawn or encoded: PyTorch, OpenCV,
Pillow, numba and file access release the global interpreter lock.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeVar

Item = TypeVar("Item")


class Stage(NamedTuple):
    """A step of a pipeline.

    Attributes:
        run: takes what the step before it returned.
        threads: that work on different items.
        prepare: called at the start of each thread.
    """

    run: Callable[[Any], Any]
    threads: int = 1
    prepare: Callable[[], Any] | None = None


def run_pipeline(items: Iterable[Item], *stages: Stage, ahead: int = 0) -> Iterator[tuple[Item, Future[Any]]]:
    """Pass items through stages that work at the same time, on different items.

    A stage with one thread sees the items in order. Memory is bounded: at most `ahead` items are between the first
    stage and the caller.

    Args:
        items: what the first stage takes; they are drawn in the thread of the caller.
        stages: at least one.
        ahead: with 1 there is no overlap; 0 = two for each thread of the stages.

    Yields:
        Each item, in order, with the finished future of its last stage. Its `result()` raises what any of the stages
        raised for this item, so that the caller can go on with the others. When the caller ends early, no further item
        is begun.
    """
    ahead = ahead or 2 * sum(stage.threads for stage in stages)
    with ExitStack() as stack:
        pools = [stack.enter_context(ThreadPoolExecutor(s.threads, "stage", s.prepare)) for s in stages]
        running: deque[tuple[Item, Future[Any]]] = deque()
        stack.callback(lambda: [future.cancel() for _, future in running])
        for item in items:
            future = pools[0].submit(stages[0].run, item)
            for stage, pool in zip(stages[1:], pools[1:]):
                future = pool.submit(_continue, stage.run, future)
            running.append((item, future))
            if len(running) >= ahead:
                yield _finish(running.popleft())
        while running:
            yield _finish(running.popleft())


def _continue(run: Callable[[Any], Any], before: Future[Any]) -> Any:
    return run(before.result())


def _finish(pair: tuple[Item, Future[Any]]) -> tuple[Item, Future[Any]]:
    wait([pair[1]])
    return pair
