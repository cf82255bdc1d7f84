"""The .npz files of arrays alone; those of others are read up to a size that their headers say."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg_files.reading import check_regular
from unified_seg_files.writing import write_atomically

#: Of all arrays of a file together, when they are unpacked.
MAX_BYTES = 4 << 30


def read_arrays(path: str | Path, names: Sequence[str], max_bytes: int = MAX_BYTES) -> list[np.ndarray]:
    """Return arrays of an .npz file by their names.

    Args:
        path: the file.
        names: of the arrays.
        max_bytes: the largest size of all together; a file of a few kilobytes can hold gigabytes of zeros.

    Raises:
        OSError: it can't be read.
        ValueError: not such a file, an array that it lacks, objects in place of numbers and text, or larger arrays.
    """
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(entry.file_size for entry in archive.infolist())) > max_bytes:
                raise ValueError(f"{size:,} bytes when it is unpacked, more than the limit of {max_bytes:,}")
            return [_read_array(archive, name) for name in names]
    except (OSError, ValueError):
        raise
    except Exception as error:  # a damaged archive fails in more ways than zipfile, zlib and numpy list
        raise ValueError(str(error) or type(error).__name__) from None


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"{name} is not a file in the archive") from None
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.hasobject or int(np.prod([dtype.itemsize, *shape], dtype=object)) > entry.file_size:
        raise ValueError(f"{name} claims {dtype} of shape {shape}, of which less is stored")
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def write_arrays(path: str | Path, **arrays: Any) -> None:
    """Write a compressed .npz file of arrays, or of what numpy makes arrays of, by their names, at once.

    Raises:
        OSError: see `write_atomically`.
    """
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
