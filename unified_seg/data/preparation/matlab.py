"""Label maps in MATLAB files, read without running code in them and without reading other files."""

import struct
import zlib
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from unified_seg.data.problems import DataError, MissingFileError, UnreadableError
from unified_seg.hints import format_hint

# Errors of scipy's reader for files that are damaged or not MATLAB files.
BROKEN = (
    OSError, EOFError, NotImplementedError, ValueError, TypeError, IndexError, OverflowError, MemoryError,
    struct.error, zlib.error, MatReadError,
)  # fmt: skip


def read_mat(path: Path, name: str, field: str = "") -> np.ndarray:
    """Read a label map from a MATLAB file up to version 7.

    Args:
        path: the file.
        name: name of the variable.
        field: name of the map in the variable, if that is a structure.

    Returns:
        (H, W) int32.

    Raises:
        DataError: the file is missing, damaged, or has no such map.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file")
    try:
        content = loadmat(path, variable_names=[name], appendmat=False)
    except BROKEN as error:
        raise UnreadableError(f"{path}: not a readable MATLAB file: {error}") from None
    try:
        value = content[name][field][0, 0] if field else content[name]
    except (KeyError, IndexError, ValueError):
        raise DataError(f"{path}: no label map {name}{field and '.'}{field} in it") from None
    return _to_label_map(value, path)


def read_mat73(path: Path, name: str) -> np.ndarray:
    """Read a label map from a MATLAB file of version 7.3, which is HDF5; needs h5py. See `read_mat`."""
    try:
        import h5py
    except ImportError:
        raise DataError(
            f"{path}: MATLAB files of version 7.3 need h5py: {format_hint('pip', 'install', 'h5py')}"
        ) from None
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file")
    try:
        with h5py.File(path, "r") as content:
            # An HDF5 file may refer to other files.
            if not isinstance(content.get(name, getlink=True), h5py.HardLink):
                raise DataError(f"{path}: no label map {name} in it")
            data = content[name]
            if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
                raise DataError(f"{path}: {name} must be a data set stored in this file")
            # MATLAB stores arrays in column-major order.
            return _to_label_map(np.asarray(data).T, path)
    except (OSError, RuntimeError, KeyError, TypeError, MemoryError) as error:
        raise UnreadableError(f"{path}: not a readable MATLAB file of version 7.3: {error}") from None


def _to_label_map(value: np.ndarray, path: Path) -> np.ndarray:
    """Check a label map and convert it to (H, W) int32; MATLAB may store whole numbers as floats."""
    if value.ndim != 2 or value.dtype.kind not in "uif" or not value.size:
        raise DataError(f"{path}: expected a label map (height, width), got {value.dtype} of {value.shape}")
    if not (np.isfinite(value) & (np.abs(value) < 2**31)).all() or (value % 1).any():
        raise DataError(f"{path}: a label map must have whole numbers below 2**31")
    return value.astype(np.int32)
