"""Label maps in MATLAB's files. Nothing in them is run, and nothing outside them is read."""

import struct
import zlib
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from unified_seg.data.problems import DataError, MissingFileError, UnreadableError

# What scipy's reader raises about files that are damaged or none of MATLAB's.
BROKEN = (
    OSError, EOFError, NotImplementedError, ValueError, TypeError, IndexError, OverflowError, MemoryError,
    struct.error, zlib.error, MatReadError,
)  # fmt: skip


def read_mat(path: Path, name: str, field: str = "") -> np.ndarray:
    """A label map in a file up to MATLAB's version 7.

    Args:
        path: the file.
        name: of the variable.
        field: where the variable is a structure, the map's name in it.

    Returns:
        (H, W) int32.

    Raises:
        DataError: absent, damaged, or without such a map; it names the file.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file")
    try:
        content = loadmat(path, variable_names=[name], appendmat=False)
    except BROKEN as error:
        raise UnreadableError(f"{path}: not a readable file of MATLAB: {error}") from None
    try:
        value = content[name][field][0, 0] if field else content[name]
    except (KeyError, IndexError, ValueError):
        raise DataError(f"{path}: no label map {name}{field and '.'}{field} in it") from None
    return _label_map(value, path)


def read_mat73(path: Path, name: str) -> np.ndarray:
    """A label map in a file of MATLAB's version 7.3, which is HDF5; needs h5py. As `read_mat` but for that."""
    try:
        import h5py
    except ImportError:
        raise DataError(f"{path}: to read MATLAB's version 7.3, install h5py: pip install h5py") from None
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file")
    try:
        with h5py.File(path, "r") as content:
            # An HDF5 file may name others to read from.
            if not isinstance(content.get(name, getlink=True), h5py.HardLink):
                raise DataError(f"{path}: no label map {name} in it")
            data = content[name]
            if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
                raise DataError(f"{path}: {name} is no label map of its own")
            # MATLAB counts along columns first.
            return _label_map(np.asarray(data).T, path)
    except (OSError, RuntimeError, KeyError, TypeError, MemoryError) as error:
        raise UnreadableError(f"{path}: not a readable file of MATLAB's version 7.3: {error}") from None


def _label_map(value: np.ndarray, path: Path) -> np.ndarray:
    """(H, W) int32; MATLAB may hold whole numbers as floats."""
    if value.ndim != 2 or value.dtype.kind not in "uif" or not value.size:
        raise DataError(f"{path}: expected a label map (height, width), got {value.dtype} of {value.shape}")
    if not (np.isfinite(value) & (np.abs(value) < 2**31)).all() or (value % 1).any():
        raise DataError(f"{path}: a label map holds whole numbers below 2**31")
    return value.astype(np.int32)
