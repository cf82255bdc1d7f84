"""Confusion matrices: reading those of an evaluation, and their rates.

K = classes. Rows are the ground truth, columns the prediction.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unified_seg_files import read_arrays

MATRIX, NAMES = "confusion", "class_names"


def read_confusion(path: str | Path, class_names: Sequence[str] = ()) -> tuple[np.ndarray, list[str]]:
    """Read the matrix of a file such as sem_seg.npz, which an evaluation leaves in its folder.

    Args:
        path: an .npz file with `confusion` (K, K) and `class_names` (K,).
        class_names: the expected classes, in their order; () accepts any.

    Returns:
        The matrix in the file's type, and the names of its classes.

    Raises:
        ValueError: the file is missing, of another kind, or of other classes; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; an evaluation writes inference/<data set>/sem_seg.npz")
    try:
        matrix, found = read_arrays(path, [MATRIX, NAMES])
        names = [str(name) for name in found]
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: must be an .npz file of an evaluation with {MATRIX} and {NAMES}: {error}") from None
    if matrix.shape != (len(names), len(names)) or matrix.dtype.kind not in "iuf":
        raise ValueError(
            f"{path}: {MATRIX} must be numeric with a row and a column for each of its {len(names)} {NAMES}, got "
            f"{matrix.dtype} of shape {matrix.shape}"
        )
    if class_names and names != list(class_names):
        raise ValueError(f"{path}: {NAMES} differ from the data set's: {_describe_difference(names, class_names)}")
    return matrix, names


def _describe_difference(names: Sequence[str], expected: Sequence[str]) -> str:
    if len(names) != len(expected):
        return f"{len(names)} in the file, {len(expected)} in the data set"
    index = next(i for i, (name, other) in enumerate(zip(names, expected)) if name != other)
    return f"class {index} is {names[index]!r} in the file, {expected[index]!r} in the data set"


def normalize_rows(confusion: Tensor) -> Tensor:
    """Divide each row by its sum.

    The row of a class that is not in the ground truth, zero or NaN, becomes a row of the identity: as a weight of the
    loss it gives plain cross-entropy.

    Args:
        confusion: (K, K) pixels, or shares of them.

    Returns:
        (K, K) float64.

    Raises:
        ValueError: the matrix is not square or has one class; it has negative or infinite entries, a row that is NaN
            in part or whose sum exceeds float64, or no pixel at all.
    """
    confusion = confusion.double()
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or len(confusion) < 2:
        raise ValueError(
            f"a confusion matrix must be square with at least two classes, got shape {tuple(confusion.shape)}"
        )
    unknown = confusion.isnan()
    partly = unknown.any(1) & ~unknown.all(1)
    if partly.any():
        raise ValueError(f"row {int(partly.nonzero()[0])} of the confusion matrix: some entries, but not all, are NaN")
    invalid = (confusion < 0) | confusion.isinf()
    if invalid.any():
        row, column = invalid.nonzero()[0].tolist()
        value = f"{confusion[row, column]:g} at row {row}, column {column}"
        raise ValueError(f"the entries of a confusion matrix must be finite and at least 0, got {value}")
    total = confusion.nansum(1, keepdim=True)
    if total.isinf().any():
        raise ValueError(f"row {int(total.isinf().nonzero()[0, 0])} of the confusion matrix: the sum is infinite")
    if not total.any():
        raise ValueError("the confusion matrix holds no pixel")
    identity = torch.eye(len(confusion), dtype=confusion.dtype, device=confusion.device)
    return torch.where(total > 0, confusion / total, identity)


def compute_rates(confusion: np.ndarray) -> np.ndarray:
    """Return the shares r_ij of the pixels of class i that are predicted as class j.

    Args:
        confusion: (K, K) pixels, or shares of them; the row of a class that is not in the ground truth is zero or NaN.

    Returns:
        (K, K) float64, 0 to 1; NaN in the row of a class that is not in the ground truth.

    Raises:
        ValueError: see `normalize_rows`.
    """
    confusion = np.ascontiguousarray(confusion, dtype=np.float64)
    rates = normalize_rows(torch.from_numpy(confusion)).numpy()
    rates[np.nansum(confusion, axis=1) == 0] = np.nan
    return rates
