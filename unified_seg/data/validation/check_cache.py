"""The results of checks that found no problem, kept in a folder so that a second start does not read all files again.

A result belongs to the content of some records: the records themselves, the size, times and inode of each file, the
classes, and the code of the checks. A change of any of them is another content, which has no result yet. Files that
changed in the last seconds have none either, since a later change could leave their times as they are.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import PIL

import unified_seg.data
import unified_seg.ops
import unified_seg.structures
import unified_seg_arrays
import unified_seg_files
from unified_seg_files import get_cache_folder, write_atomically

# Records whose result is one file: a changed file is read again together with those of its group.
GROUP = 256
# Coarser than the times of any file system (2 s on FAT), and than what clocks of file servers are apart.
SECONDS_AT_REST = 10
FILE_KEYS = ("file_name", "sem_seg_file_name", "pan_seg_file_name")
# Of what the checks use.
PACKAGES = (unified_seg.data, unified_seg.ops, unified_seg.structures, unified_seg_arrays, unified_seg_files)
LIBRARIES = (cv2, msgspec, np, PIL)

Record = Mapping[str, Any]

logger = logging.getLogger(__name__)


def split_into_groups(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Yield the records in groups of GROUP."""
    iterator = iter(records)
    while group := list(islice(iterator, GROUP)):
        yield group


class CheckCache:
    """The numbers of pixels of each class in groups of records without a problem.

    Args:
        settings: of the checks, in a form whose `repr` tells different ones apart.
    """

    def __init__(self, settings: object):
        self.folder = get_cache_folder() / "checked"
        self.settings = f"{settings!r} {_describe_code()}".encode()

    def compute_key(self, group: Iterable[Record]) -> str | None:
        """Return the key of a group's content; None if a file is missing or changed in the last seconds."""
        digest = hashlib.blake2b(self.settings, digest_size=20)
        newest = (time.time() - SECONDS_AT_REST) * 1e9
        for record in group:
            digest.update(_pack(record))
            for key in FILE_KEYS:
                if not record.get(key):
                    continue
                try:
                    state = os.stat(record[key])
                except (OSError, ValueError):
                    return None
                if max(state.st_mtime_ns, state.st_ctime_ns) > newest:
                    return None
                content = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
                digest.update(repr(content).encode())
        return digest.hexdigest()

    def find(self, key: str | None, num_classes: int) -> np.ndarray | None:
        """Return the pixels of each class, (K,) int64; None for a group that is not known to have no problem."""
        if key is None:
            return None
        try:
            found = np.load(self._name_file(key), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return found if found.shape == (num_classes,) and found.dtype == np.int64 else None

    def store(self, key: str | None, pixels: np.ndarray) -> None:
        """Keep the pixels of each class in a group without a problem; do nothing if the folder is not writable."""
        if key is None:
            return
        try:
            with write_atomically(self._name_file(key)) as temporary, temporary.open("wb") as file:
                np.save(file, pixels)
        except OSError as error:
            logger.debug(f"{self.folder}: the result of a check can't be written: {error}")

    def _name_file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"


def _pack(record: Record) -> bytes:
    try:
        return msgspec.msgpack.encode(record, enc_hook=_encode)
    except (OverflowError, UnicodeEncodeError):  # ids of more than 64 bits, and names of files that are no text
        return json.dumps(record, default=_encode).encode()


def _encode(value: Any) -> Any:
    """Return what msgpack can hold in place of another value of a record, such as arrays."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else repr(value)


@lru_cache(maxsize=1)
def _describe_code() -> str:
    """Return a digest of the code that checks, and the versions of the libraries that decode."""
    digest = hashlib.blake2b(digest_size=20)
    for package in PACKAGES:
        for folder in package.__path__:
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(file.read_bytes())
    versions = (f"{library.__name__} {library.__version__}" for library in LIBRARIES)
    return " ".join([digest.hexdigest(), *versions, f"pycocotools {version('pycocotools')}"])
