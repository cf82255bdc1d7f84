"""Weight files and run states as files: read as data, written whole.

Reading a file runs nothing that it contains. `torch.load` and Detectron2 would unpickle whatever they find. What is
damaged is found before it is used, see `integrity`.
"""

import pickle
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from unified_seg.checkpoint.integrity import DamagedError, append_digest, check_archive, check_sizes
from unified_seg.checkpoint.safetensors_files import SUFFIX, is_safetensors, read_safetensors, write_safetensors
from unified_seg.errors import UserError
from unified_seg_files import escape_unprintable, hash_file, open_regular, write_atomically
from unified_seg_files.reading import NOT_REGULAR

# The globals that a pickled dictionary of numpy arrays (Detectron2's model zoo) refers to.
ARRAY_GLOBALS = {
    (module, name)
    for package in ("numpy.core", "numpy._core")
    for module, name in ((f"{package}.multiarray", "_reconstruct"), (f"{package}.multiarray", "scalar"))
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode")}
# Characters of an error in a message: that of a damaged pickle may quote the file.
MAX_CAUSE = 300

# torchvision's files have the first digits of their SHA-256 at the end of their names.
DIGEST_IN_URL = re.compile(r"https://download\.pytorch\.org/.*-([0-9a-f]{8,64})\.pth")


class CheckpointError(UserError, RuntimeError):
    """A weight file that can't be used; the message names it."""


def check_is_file(path: str | Path, where: str = "weights") -> None:
    """Check that a path is that of a regular file.

    Args:
        path: of weights.
        where: the option or key that names it, for the message.

    Raises:
        CheckpointError: nothing is there, or a folder, FIFO, socket or device.
    """
    path = Path(path)
    if path.is_file():
        return
    if path.is_dir():
        raise CheckpointError(f"{where} {path}: a folder; name a file, such as {path / 'model_final.pth'}")
    raise CheckpointError(f"{where} {path}: {NOT_REGULAR if path.exists() else 'there is no such file'}")


def read_checkpoint(file: str | Path, *, mmap: bool = False, is_checked: bool = False) -> dict[str, Any]:
    """Read a file of tensors (PyTorch, safetensors) or, if its name ends in .pkl, of numpy arrays (the model zoo's).

    Args:
        file: a local file.
        mmap: leave tensors on the disk until they are used; for readers of a few values of a PyTorch file.
        is_checked: the file was read before; its digest, for which it is read as a whole, is not compared again.

    Raises:
        CheckpointError: there is no such file; it can't be read, is damaged (see `integrity`), holds anything but
            arrays and plain containers, or no dictionary, or claims more memory than its size.
    """
    check_is_file(file)
    try:
        loaded = _read(file, mmap, is_checked)
        check_sizes(loaded)
    except FileNotFoundError:
        raise CheckpointError(f"weights {file}: there is no such file") from None
    except DamagedError as error:
        raise CheckpointError(f"weights {file}: damaged: {error}; copy or download it again") from None
    except Exception as error:  # the readers of damaged pickles raise whatever Python raises
        cause = escape_unprintable(" ".join(str(error).split())[:MAX_CAUSE]) or type(error).__name__
        raise CheckpointError(f"weights {file}: not a checkpoint of weights alone: {cause}") from None
    if not isinstance(loaded, dict) or not loaded:
        raise CheckpointError(f"weights {file}: holds a {type(loaded).__name__}, expected a state dict")
    return loaded


def _read(file: str | Path, mmap: bool, is_checked: bool) -> Any:
    if str(file).endswith(".pkl"):
        with open_regular(file) as opened:
            return _ArrayUnpickler(opened, encoding="latin1").load()
    if is_safetensors(file):
        return read_safetensors(file)
    if not is_checked:
        check_archive(file)
    return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)


def write_checkpoint(file: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain containers, with a digest; an interruption leaves the previous file intact.

    Args:
        file: with the suffix .safetensors it is written in that format, see `write_safetensors`.
        content: `model`, a state dict, and other entries.

    Raises:
        CheckpointError: it can't be written, since the disk is full, for example.
    """
    try:
        with write_atomically(file, durable=True) as temporary:
            if file.suffix == SUFFIX:
                write_safetensors(temporary, content)
            else:
                torch.save(content, temporary)
                append_digest(temporary)
    except (OSError, RuntimeError, SafetensorError) as error:  # libraries turn the first into the others
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split("\n")[0]
        free = f"{shutil.disk_usage(file.parent).free:,} bytes are free there" if file.parent.is_dir() else "no folder"
        raise CheckpointError(f"{file}: can't be written: {cause} ({free}); an older file is unchanged") from None


def check_digest(url: str, file: str) -> None:
    """Refuse a download that differs from what its publisher put there; a URL without a digest passes."""
    expected = DIGEST_IN_URL.fullmatch(url)
    if expected is None:
        return
    digest = hash_file(file)
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
