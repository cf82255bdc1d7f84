"""Weights in the safetensors format: tensors by name, and texts; a file holds no code.

A file of this project has two texts in its header: the plain entries of a checkpoint, such as the names of the classes,
as JSON, and the SHA-256 of the whole file, of which those 64 digits are zeros. The format itself has no digest.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from unified_seg.checkpoint.integrity import DamagedError, hash_bytes
from unified_seg_files import open_regular

SUFFIX = ".safetensors"
LENGTH_BYTES = 8
# The names of 100,000 tensors. The package itself reads 100 MB.
MAX_HEADER_BYTES = 16 << 20
ENTRIES = "unified_seg"
DIGEST = "unified_seg_sha256"
# How the package writes a text of the header.
DIGEST_START = f'"{DIGEST}":"'.encode()
NO_DIGEST = 64 * "0"


def is_safetensors(file: str | Path) -> bool:
    """Return whether a file has the suffix or the start of the format: the length of the header, and its "{"."""
    if str(file).endswith(SUFFIX):
        return True
    with open_regular(file) as opened:
        start = opened.read(LENGTH_BYTES + 1)
    return start.endswith(b"{") and int.from_bytes(start[:LENGTH_BYTES], "little") <= MAX_HEADER_BYTES


def read_safetensors(file: str | Path) -> dict[str, Any]:
    """Return the tensors of a file by name; those of this project's files as `model`, beside the plain entries.

    Raises:
        DamagedError: it differs from its digest.
        ValueError: a longer header than MAX_HEADER_BYTES, or entries that are no JSON object.
        SafetensorError: not such a file, or tensors of other sizes than the header says.
    """
    _check_digest(file)
    with safe_open(file, framework="pt") as opened:
        texts = opened.metadata() or {}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dictionary)
    if ENTRIES not in texts:
        return tensors
    entries = json.loads(texts[ENTRIES])
    if not isinstance(entries, dict):
        raise ValueError(f"{ENTRIES} in its header is a {type(entries).__name__}, expected an object")
    return {**entries, "model": tensors}


def write_safetensors(file: Path, content: Mapping[str, Any]) -> None:
    """Write `model`, a state dict, and the other entries, which must be plain values of JSON, in place."""
    tensors = {name: _copy(value) for name, value in content["model"].items()}
    entries = {key: value for key, value in content.items() if key != "model"}
    save_file(tensors, file, {ENTRIES: json.dumps(entries), DIGEST: NO_DIGEST})
    place = _find_digest(_read_header(file))
    with file.open("r+b") as opened:
        digest = hash_bytes(opened)
        opened.seek(place)
        opened.write(digest.encode())


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor as the format takes it: in memory of its own, one row after the other."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _check_digest(file: str | Path) -> None:
    header = _read_header(file)
    place = _find_digest(header)
    if place < 0:
        return  # a file of others
    expected = header[place : place + len(NO_DIGEST)]
    with open_regular(file) as opened:
        opened.seek(len(header))
        start = header[:place] + NO_DIGEST.encode() + header[place + len(NO_DIGEST) :]
        if hash_bytes(opened, start=start).encode() != expected:
            raise DamagedError("its content differs from the SHA-256 in its header")


def _read_header(file: str | Path) -> bytes:
    """Return the header of a file, with its length before it."""
    with open_regular(file) as opened:
        length = opened.read(LENGTH_BYTES)
        count = int.from_bytes(length, "little")
        if count > MAX_HEADER_BYTES:
            raise ValueError(f"not a safetensors file, or a header of more than {MAX_HEADER_BYTES:,} bytes")
        return length + opened.read(count)


def _find_digest(header: bytes) -> int:
    """Return the place of the digest in a file with this header, -1 if it has none."""
    start = header.find(DIGEST_START)
    return start + len(DIGEST_START) if start >= 0 else -1
