"""A log of the images whose results are written; it only grows, so that a killed run goes on where it stopped.

A line is written after all files of its image. It has what the joined JSONs need of the image, so that these are made
at the end without a list of all images in memory. Each process of each start appends to a file of its own; a line that
a kill cut off has no end and does not count.
"""

import hashlib
import json
import re
from array import array
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unified_seg_files import write_atomically

# Of all lines, in the order of the images, after a complete run.
COMPLETE = "finished.jsonl"
# A line starts with the hash of the name, so that the rest need not be parsed to know which images are finished.
HASH_DIGITS = 16
LINE_START = re.compile(rb"[0-9a-f]{%d} \{" % HASH_DIGITS)


def hash_name(name: str) -> int:
    """Return a number of 64 bits; among a million names two have the same one with a probability of 3e-8."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


class FinishedLog:
    """The log of a folder as it was when this object was made, which takes 24 bytes of memory for each image.

    Args:
        folder: of the log.
        rank: of this process; processes append to different files.
    """

    def __init__(self, folder: Path, rank: int = 0):
        self.folder = folder
        self._files = sorted(folder.glob("*.jsonl"), key=lambda file: (file.name != COMPLETE, file.name))
        self._hashes, self._places = self._read()
        starts = 1 + max((int(file.stem.split("-")[0]) for file in self._files if file.name != COMPLETE), default=0)
        self._own = folder / f"{starts:04d}-{rank:04d}.jsonl"
        self._opened: BinaryIO | None = None

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def append(self, name: str, entry: str) -> None:
        """Note that an image is finished.

        Args:
            name: of the image, or any text that tells it from others.
            entry: JSON in one line.

        Raises:
            OSError: a full disk ...; nothing can be appended after it.
        """
        if self._opened is None:
            self._opened = self._own.open("xb")
        self._opened.write(f"{hash_name(name):0{HASH_DIGITS}x} {entry}\n".encode())
        self._opened.flush()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def compact(self, names: Iterable[str]) -> int:
        """Write one file with the lines of these names in their order, in place of all files that were read.

        Returns:
            The number of lines.
        """
        count = 0
        with write_atomically(self.folder / COMPLETE) as temporary, temporary.open("wb") as file:
            for line in self._read_lines(names):
                file.write(line)
                count += 1
        for part in self._files:
            if part.name != COMPLETE:
                part.unlink()
        return count

    def _read_lines(self, names: Iterable[str]) -> Iterator[bytes]:
        with ExitStack() as stack:
            opened = [stack.enter_context(file.open("rb")) for file in self._files]
            for name in names:
                index = self._find(name)
                if index is not None:
                    number, place = self._places[index]
                    opened[number].seek(place)
                    yield opened[number].readline()

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (N,) the hashes of finished names, ascending, and (N, 2) the file and the place of their last line."""
        hashes, places = array("Q"), array("q")
        for number, path in enumerate(self._files):
            with path.open("rb") as file:
                place = 0
                for line in file:
                    if line.endswith(b"\n") and LINE_START.match(line):
                        hashes.append(int(line[:HASH_DIGITS], 16))
                        places.extend((number, place))
                    place += len(line)
        found, last = np.unique(np.frombuffer(hashes, dtype=np.uint64)[::-1], return_index=True)
        return found, np.frombuffer(places, dtype=np.int64).reshape(-1, 2)[::-1][last]

    def read_any(self) -> dict[str, Any]:
        """Return the entry of one image; {} if none is finished."""
        if not len(self):
            return {}
        number, place = self._places[0]
        with self._files[number].open("rb") as file:
            file.seek(place)
            return parse_entry(file.readline())

    def _find(self, name: str) -> int | None:
        value = np.uint64(hash_name(name))
        index = int(np.searchsorted(self._hashes, value))
        return index if index < len(self._hashes) and self._hashes[index] == value else None


def read_complete(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a log after `FinishedLog.compact`, in the order of the images."""
    with (folder / COMPLETE).open("rb") as file:
        yield from map(parse_entry, file)


def parse_entry(line: bytes) -> dict[str, Any]:
    return json.loads(line[HASH_DIGITS + 1 :])
