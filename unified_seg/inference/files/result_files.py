"""The files of predictions as they are in their folder: people delete some, and take images away."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from unified_seg.inference.files.finished_log import hash_name


class ResultFiles:
    """The files <folder>/<kind>/<name><suffix> of images.

    Args:
        folder: of all results.
        suffixes: of the files of each kind; each finished image has one of each.
    """

    def __init__(self, folder: Path, suffixes: Mapping[str, str]):
        self.folder = folder
        self.suffixes = suffixes

    def has_all(self, name: str) -> bool:
        """Return whether no file of an image is missing."""
        return all((self.folder / kind / f"{name}{suffix}").is_file() for kind, suffix in self.suffixes.items())

    def find_others(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the files of other images than these, relative to the folder; 8 bytes of memory for each name."""
        expected = np.unique(np.frombuffer(array("Q", map(hash_name, names)), dtype=np.uint64))
        for kind, suffix in self.suffixes.items():
            for file in (self.folder / kind).rglob(f"*{suffix}"):
                value = np.uint64(hash_name(file.relative_to(self.folder / kind).as_posix().removesuffix(suffix)))
                index = int(np.searchsorted(expected, value))
                if index == len(expected) or expected[index] != value:
                    yield file.relative_to(self.folder).as_posix()
