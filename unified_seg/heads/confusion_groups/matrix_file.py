"""The confusion matrix that an evaluation wrote."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

MATRIX, NAMES = "confusion", "class_names"


def read_confusion(path: str | Path, class_names: Sequence[str] = ()) -> tuple[np.ndarray, list[str]]:
    """The matrix of a file such as sem_seg.npz, which an evaluation leaves in its folder.

    Args:
        path: an .npz file with `confusion` (K, K), rows the ground truth, and `class_names` (K,).
        class_names: the classes that it must be of, in their order; () for any.

    Returns:
        The matrix, as it is there, and the names of its classes.

    Raises:
        ValueError: no such file, another kind of file, or other classes; it names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; an evaluation writes it as inference/<data set>/sem_seg.npz")
    try:
        # What is pickled in a file could be a program.
        with np.load(path, allow_pickle=False) as file:
            matrix, names = file[MATRIX], [str(name) for name in file[NAMES]]
    except Exception as error:  # a damaged archive fails in more ways than zipfile, zlib and numpy list
        raise ValueError(
            f"{path}: no .npz file with {MATRIX} and {NAMES}, as an evaluation writes it: {error}"
        ) from None
    if matrix.shape != (len(names), len(names)) or matrix.dtype.kind not in "iuf":
        raise ValueError(
            f"{path}: {MATRIX} must hold numbers, a row and a column for each of its {len(names)} classes, "
            f"got {matrix.dtype} of the shape {matrix.shape}"
        )
    if class_names and names != list(class_names):
        raise ValueError(f"{path}: its classes are not those of the data set: {_difference(names, class_names)}")
    return matrix, names


def _difference(names: Sequence[str], expected: Sequence[str]) -> str:
    if len(names) != len(expected):
        return f"it has {len(names)}, the data set {len(expected)}"
    place = next(i for i, (name, other) in enumerate(zip(names, expected)) if name != other)
    return f"number {place} is {names[place]!r} there and {expected[place]!r} in the data set"
