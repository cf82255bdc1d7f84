"""Weight files and run states as files: read as data, written whole.

Reading a file runs nothing that it contains. `torch.load` and Detectron2 would unpickle whatever they find.
"""

import hashlib
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from unified_seg.errors import UserError
from unified_seg_files import check_regular, escape_unprintable, read_bytes, write_atomically, write_text

# Detectron2's name for the file, in the folder of a run, that names the checkpoint to resume from.
LAST_CHECKPOINT = "last_checkpoint"

# The name of a file in the folder of its run.
CHECKPOINT_NAME = re.compile(r"[^/\\\0.][^/\\\0]*\.pth")

# The globals that a pickled dictionary of numpy arrays (Detectron2's model zoo) refers to.
ARRAY_GLOBALS = {
    (module, name)
    for package in ("numpy.core", "numpy._core")
    for module, name in ((f"{package}.multiarray", "_reconstruct"), (f"{package}.multiarray", "scalar"))
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode")}
# Characters of an error in a message: that of a damaged pickle may quote the file.
MAX_CAUSE = 300

# Of last_checkpoint.
MAX_NAME_BYTES = 4096

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
        CheckpointError: the file can't be read, holds anything but arrays and plain containers, or no dictionary, or
            claims more memory than its size.
    """
    try:
        check_regular(file)
        if str(file).endswith(".pkl"):
            with open(file, "rb") as opened:
                loaded = _ArrayUnpickler(opened, encoding="latin1").load()
        else:
            _check_archive(file)
            loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
        _check_tensors(loaded)
    except Exception as error:  # the readers of damaged pickles raise whatever Python raises
        cause = escape_unprintable(" ".join(str(error).split())[:MAX_CAUSE]) or type(error).__name__
        raise CheckpointError(f"weights {file}: not a checkpoint of weights alone: {cause}") from None
    if not isinstance(loaded, dict) or not loaded:
        raise CheckpointError(f"weights {file}: holds a {type(loaded).__name__}, expected a state dict")
    return loaded


def _check_archive(file: str | Path) -> None:
    """Refuse an archive that says more than its size: PyTorch compresses nothing, but reads what is compressed."""
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its entries are compressed, as PyTorch never writes them")
    if sum(entry.file_size for entry in entries) > os.path.getsize(file):
        raise ValueError("its entries are together larger than the file")


def _check_tensors(content: Any) -> None:
    """Refuse tensors that are larger than what is stored of them, however deep they are."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            if value.layout != torch.strided or value.is_meta:
                raise ValueError(f"it contains a tensor of {value.layout} on {value.device}")
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise ValueError(f"it contains a tensor of shape {tuple(value.shape)}, of which less is stored")
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value


def write_checkpoint(file: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain containers; an interruption leaves the previous file intact.

    Raises:
        CheckpointError: it can't be written, since the disk is full, for example.
    """
    try:
        with write_atomically(file, durable=True) as temporary:
            torch.save(content, temporary)
    except (OSError, RuntimeError) as error:  # PyTorch's writer turns the first into the second
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split("\n")[0]
        free = f"{shutil.disk_usage(file.parent).free:,} bytes are free there" if file.parent.is_dir() else "no folder"
        raise CheckpointError(f"{file}: can't be written: {cause} ({free}); an older file is unchanged") from None


def read_last_checkpoint(folder: str | Path) -> str:
    """Return the name of the file from which a run in this folder resumes, "" if there is none.

    Raises:
        CheckpointError: the file is unreadable, or names anything but a file of this folder.
    """
    file = Path(folder) / LAST_CHECKPOINT
    if not file.is_file():
        return ""
    try:
        name = read_bytes(file, MAX_NAME_BYTES).decode().strip()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: not the name of a checkpoint: {error}; delete it to start anew") from None
    if name and (not CHECKPOINT_NAME.fullmatch(name) or not name.isprintable() or (file.parent / name).is_symlink()):
        raise CheckpointError(
            f"{file}: {name!r:.80} is not the name of a .pth file in {file.parent}; write the name of one, or delete it"
        )
    return name


def write_last_checkpoint(folder: str | Path, name: str) -> None:
    """Let a run in this folder resume from a file there."""
    write_text(Path(folder) / LAST_CHECKPOINT, name, durable=True)


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
        found = super().find_class(module, name)
        if name == "encode":
            return _encode
        return partial(_reconstruct, found) if name == "_reconstruct" else found


def _encode(text: str, encoding: str) -> bytes:
    """Return bytes that Python 2 wrote as text; the module of any other encoding would be imported."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it contains text of the encoding {encoding!r}")
    return text.encode("latin-1")


def _reconstruct(function: Callable[..., Any], kind: type, shape: Any, code: Any) -> Any:
    """Return the empty array that is filled next; of any other shape it would take memory."""
    if shape != (0,):
        raise pickle.UnpicklingError(f"it contains an array that starts with shape {shape!r:.80}")
    return function(kind, (0,), code)
