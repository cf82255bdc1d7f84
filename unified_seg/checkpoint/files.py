"""Weight files and run states as files: read as data, written whole.

Reading a file runs nothing that it contains. `torch.load` and Detectron2 would unpickle whatever they find.
"""

import hashlib
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from unified_seg.errors import UserError
from unified_seg_files import write_atomically

# Detectron2's name for the file, in the folder of a run, that names the checkpoint to resume from.
LAST_CHECKPOINT = "last_checkpoint"

# The globals that a pickled dictionary of numpy arrays (Detectron2's model zoo) refers to.
ARRAY_GLOBALS = {
    (module, name)
    for package in ("numpy.core", "numpy._core")
    for module, name in ((f"{package}.multiarray", "_reconstruct"), (f"{package}.multiarray", "scalar"))
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode")}

# torchvision's files have the first digits of their SHA-256 at the end of their names.
DIGEST_IN_URL = re.compile(r"https://download\.pytorch\.org/.*-([0-9a-f]{8,64})\.pth")


class CheckpointError(UserError, RuntimeError):
    """A weight file that can't be used; the message names it."""


def read_checkpoint(file: str | Path, *, mmap: bool = False) -> dict[str, Any]:
    """Read a file of tensors (PyTorch) or, if its name ends in .pkl, of numpy arrays (Detectron2's model zoo).

    Args:
        file: a local file.
        mmap: leave tensors on the disk until they are used; for readers of a few values of a PyTorch file.

    Raises:
        CheckpointError: the file can't be read, holds anything but arrays and plain containers, or no dictionary.
    """
    try:
        if str(file).endswith(".pkl"):
            with open(file, "rb") as opened:
                loaded = _ArrayUnpickler(opened, encoding="latin1").load()
        else:
            loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, OSError) as error:
        raise CheckpointError(f"weights {file}: not a checkpoint of weights alone: {error}") from None
    if not isinstance(loaded, dict) or not loaded:
        raise CheckpointError(f"weights {file}: holds a {type(loaded).__name__}, expected a state dict")
    return loaded


def write_checkpoint(file: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain containers; an interruption leaves the previous file intact."""
    with write_atomically(file, durable=True) as temporary:
        torch.save(content, temporary)


def read_last_checkpoint(folder: str | Path) -> str:
    """Return the name of the file from which a run in this folder resumes, "" if there is none."""
    file = Path(folder) / LAST_CHECKPOINT
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def forget_last_checkpoint(folder: str | Path) -> None:
    """Let a run in this folder start from its beginning; the weights stay where they are."""
    (Path(folder) / LAST_CHECKPOINT).unlink(missing_ok=True)


def check_digest(url: str, file: str) -> None:
    """Refuse a download that differs from what its publisher put there; a URL without a digest passes."""
    expected = DIGEST_IN_URL.fullmatch(url)
    if expected is None:
        return
    with open(file, "rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if not digest.startswith(expected[1]):
        raise CheckpointError(
            f"weights {url}: the URL promises SHA-256 {expected[1]}..., {file} has {digest}; delete the file to "
            "download it again"
        )


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler of numpy arrays and plain containers, which refuses everything else."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in ARRAY_GLOBALS:
            raise pickle.UnpicklingError(f"it contains {module}.{name}, only numpy arrays are allowed")
        return super().find_class(module, name)
