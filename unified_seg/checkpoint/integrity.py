"""Finding damage in weight files before their tensors are used.

A `.pth` file of this project is PyTorch's zip archive with one addition: the comment at its end is the SHA-256 of all
bytes before the digits. So one file stays one file, and PyTorch and Detectron2 read it as any other. The digest covers
what the CRCs of a zip don't: headers, padding and the directory. PyTorch compares no CRC when it reads.

In archives without a digest, which others or earlier versions wrote, the CRC of each entry is compared. Files in
PyTorch's format before 1.6 and pickles have neither.
"""

import hashlib
import io
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from unified_seg_files import open_regular

ARCHIVE_START = b"PK\x03\x04"
# The record at the end of a zip: this signature, and in its last two bytes the length of the comment that follows.
RECORD_START = b"PK\x05\x06"
RECORD_BYTES = 22
# Of an entry's attributes.
FOLDER_FLAG = 0x10
COMMENT_START = b"unified_seg sha256 "
COMMENT_BYTES = len(COMMENT_START) + 2 * hashlib.sha256().digest_size
BLOCK = 1 << 20


class DamagedError(ValueError):
    """A file that is not as it was written; the message says in what, without the name of the file."""


def append_digest(file: Path) -> None:
    """Write the digest of an archive of `torch.save` as its comment."""
    with file.open("r+b") as opened:
        opened.seek(-RECORD_BYTES, os.SEEK_END)
        record = opened.read()
        if not _is_record(record):
            raise ValueError(f"{file}: not an archive of torch.save")
        opened.seek(-2, os.SEEK_END)
        opened.write(COMMENT_BYTES.to_bytes(2, "little"))
        opened.seek(0, os.SEEK_END)
        opened.write(COMMENT_START)
        opened.seek(0)
        digest = hash_bytes(opened)
        opened.write(digest.encode())


def check_archive(file: str | Path) -> None:
    """Check a file that `torch.load` is going to read, as far as it can be checked.

    Raises:
        DamagedError: it differs from its digest or the CRC of an entry; an archive without its end.
        ValueError: an archive whose entries are larger than the file, or compressed, as PyTorch never writes them.
    """
    with open_regular(file) as opened:
        is_archive = opened.read(len(ARCHIVE_START)) == ARCHIVE_START
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - COMMENT_BYTES))
        end = opened.read()
        has_digest = end.startswith(COMMENT_START)
        if has_digest:
            opened.seek(0)
            if hash_bytes(opened, size - COMMENT_BYTES + len(COMMENT_START)).encode() != end[len(COMMENT_START) :]:
                raise DamagedError("its content differs from the SHA-256 at its end")
        elif is_archive and not _is_record(end[-RECORD_BYTES:]):
            raise DamagedError("its end is missing or changed")
    if is_archive:
        _check_entries(file, compare=not has_digest)


def hash_bytes(opened: BinaryIO | io.BufferedRandom, count: int | None = None, start: bytes = b"") -> str:
    """Return the SHA-256 of `start` and the next bytes of a file, in hexadecimal digits.

    Args:
        opened: the file.
        count: how many bytes; None: up to the end.
        start: what comes before them.
    """
    digest = hashlib.sha256(start)
    remaining = math.inf if count is None else count
    while remaining > 0 and (block := opened.read(int(min(remaining, BLOCK)))):
        digest.update(block)
        remaining -= len(block)
    return digest.hexdigest()


def _is_record(record: bytes) -> bool:
    """Return whether bytes are the record at the end of a zip without a comment."""
    return len(record) == RECORD_BYTES and record.startswith(RECORD_START) and record.endswith(b"\0\0")


def _check_entries(file: str | Path, *, compare: bool) -> None:
    """Check the sizes of an archive's entries, and with `compare` their CRCs."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("its entries are compressed, as PyTorch never writes them")
            if sum(entry.file_size for entry in entries) > os.path.getsize(file):
                raise ValueError("its entries are together larger than the file")
            # PyTorch reads nothing of such an entry, and leaves its tensor as the memory was.
            if any(entry.external_attr & FOLDER_FLAG for entry in entries):
                raise DamagedError("an entry is marked as a folder")
            damaged = archive.testzip() if compare else None
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise DamagedError(f"not a whole archive: {error}") from None
    if damaged is not None:
        raise DamagedError(f"the CRC-32 of its entry {damaged} differs")


def check_sizes(content: Any) -> None:
    """Raise ValueError if a tensor is larger than what is stored of it, however deep it is in the content."""
    for name, tensor in iterate_tensors(content):
        if tensor.layout != torch.strided or tensor.is_meta:
            raise ValueError(f"{name} is a tensor of {tensor.layout} on {tensor.device}")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"{name} is a tensor of shape {tuple(tensor.shape)}, of which less is stored")


def find_not_finite(content: Any) -> str:
    """Return the name of a tensor with NaN or infinite values, however deep it is in the content, or ""."""
    return next((name for name, tensor in iterate_tensors(content) if not _is_finite(tensor)), "")


def _is_finite(tensor: torch.Tensor) -> bool:
    if tensor.numel() == 0 or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    return bool(torch.isfinite(tensor).all())


def iterate_tensors(content: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield each tensor in nested containers once, by the keys and positions that lead to it, joined with dots."""
    waiting, seen = [("", content)], set()
    while waiting:
        name, value = waiting.pop()
        if id(value) in seen:  # a container may contain itself
            continue
        if isinstance(value, torch.Tensor):
            seen.add(id(value))
            yield name, value
        elif isinstance(value, (dict, list, tuple)):
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(f"{name}.{key}" if name else str(key), each) for key, each in items]
