"""The endless stream of training batches, whose position is a part of the state of a run.

Detectron2's loader starts over when a run is resumed, and its augmentations depend on how many images each worker has
mapped before. Here the image at a position of the stream draws its augmentations from a seed of its own, so that the
stream is the same with any number of workers and goes on anywhere.
"""

import itertools
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeGuard

import numpy as np
import torch
from detectron2.utils import comm
from torch.utils.data import DataLoader, IterableDataset, Sampler, get_worker_info

from unified_seg.ops.random_numbers import keep_random_numbers

Record = dict[str, Any]


class BatchStream:
    """Endless batches of mapped images of one process.

    Args:
        records: of the training sets.
        mapper: of a record to the model's input, with `width` and `height`.
        make_sampler: returns the sampler of a pair of seeds; its order is endless and depends on nothing else.
        seeds: of the order and of the augmentations; the same in all processes.
        batch_size: of this process.
        by_aspect_ratio: put wide and tall images in batches of their own.
        num_workers: processes that map images; 0: this one.
    """

    def __init__(
        self,
        records: Sequence[Record],
        mapper: Callable[[Record], Record],
        make_sampler: Callable[[Sequence[int]], Sampler[int]],
        seeds: Sequence[int],
        *,
        batch_size: int,
        by_aspect_ratio: bool,
        num_workers: int,
    ):
        self.records = records
        self.mapper = mapper
        self.make_sampler = make_sampler
        self.seeds = tuple(seeds)
        self.sampler = make_sampler(self.seeds)
        self.batch_size = batch_size
        self.by_aspect_ratio = by_aspect_ratio
        self.num_workers = num_workers
        # Of the workers; a loader would draw from the numbers of the training whenever it starts.
        self._generator = torch.Generator().manual_seed(int(torch.empty((), dtype=torch.int64).random_()))
        self._next = 0
        self._waiting: list[int] = []

    def __iter__(self) -> Iterator[list[Record]]:
        """Yield batches from the position on."""
        groups: dict[bool, list[tuple[int, Record]]] = {False: [], True: []}
        unmapped = set(self._waiting)  # a smaller batch than before can be complete before all of them are mapped again
        for position, image in self._map_images():
            unmapped.discard(position)
            group = groups[self.by_aspect_ratio and image["width"] > image["height"]]
            group.append((position, image))
            if len(group) == self.batch_size:
                batch = [each for _, each in group]
                group.clear()
                self._next = max(self._next, position + 1)
                self._waiting = sorted(unmapped.union(number for group in groups.values() for number, _ in group))
                yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the position: the first image that was not read, and those that wait for others of their shape."""
        return {"seeds": list(self.seeds), "next": self._next, "waiting": list(self._waiting)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a position; the stream must not have been started.

        Raises:
            ValueError: the state is not one of `state_dict`.
        """
        position: Any
        seeds, position, waiting = state.get("seeds"), state.get("next"), state.get("waiting")
        if not (_are_counts(seeds) and len(seeds) == len(self.seeds) and _are_counts([position])):
            raise ValueError("the position in the stream of images is damaged")
        if not (_are_counts(waiting) and all(each < position for each in waiting)):
            raise ValueError("the images that wait for their batch are damaged")
        self.seeds, self._next, self._waiting = tuple(seeds), position, sorted(waiting)
        self.sampler = self.make_sampler(self.seeds)

    def _map_images(self) -> Iterator[tuple[int, Record]]:
        """Yield the images from the position on, each with its own position: first those that wait for others."""
        images = _MappedImages(self.records, self.mapper, self.sampler, self.seeds[0], self._next)
        yield from images.map_at(self._waiting)
        yield from DataLoader(
            images,
            batch_size=None,
            num_workers=self.num_workers,
            collate_fn=_return_as_it_is,
            generator=self._generator,
            worker_init_fn=ignore_interrupts,
        )


class _MappedImages(IterableDataset[tuple[int, Record]]):
    """The mapped images from a position on; each worker maps its share, and the loader takes them in turn."""

    def __init__(
        self,
        records: Sequence[Record],
        mapper: Callable[[Record], Record],
        sampler: Sampler[int],
        seed: int,
        start: int,
    ):
        self.records = records
        self.mapper = mapper
        self.sampler = sampler
        self.seed = seed
        self.start = start
        self.rank = comm.get_rank()

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        worker = get_worker_info()
        first, step = (self.start, 1) if worker is None else (self.start + worker.id, worker.num_workers)
        for position, index in itertools.islice(enumerate(self.sampler), first, None, step):
            yield position, self._map(position, index)

    def map_at(self, positions: Sequence[int]) -> Iterator[tuple[int, Record]]:
        """Map the images at positions in ascending order."""
        if positions:
            for position, index in itertools.islice(enumerate(self.sampler), positions[0], positions[-1] + 1):
                if position in positions:
                    yield position, self._map(position, index)

    def _map(self, position: int, index: int) -> Record:
        with nullcontext() if get_worker_info() else keep_random_numbers():
            _seed(self.seed, self.rank, position)
            return self.mapper(self.records[index])


def _seed(*seed: int) -> None:
    """Seed Python, NumPy and PyTorch on the CPU."""
    words = np.random.SeedSequence(seed).generate_state(3).tolist()
    random.seed(words[0])
    np.random.seed(words[1])
    torch.default_generator.manual_seed(words[2])


def ignore_interrupts(worker: int) -> None:
    """Ignore what Ctrl-C, a closed terminal and schedulers send to all processes: the training finishes its step."""
    for number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_when_asked_by, args=(os.getppid(),), daemon=True).start()


def _end_when_asked_by(parent: int) -> None:
    """End this process at a SIGTERM of the one that has started it, which so ends its workers."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(each) is int and 0 <= each < 2**53 for each in values)


def _return_as_it_is(value: Any) -> Any:
    return value
