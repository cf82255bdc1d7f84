"""Reading of regular files: a FIFO would block for ever, and a device has no end."""

import errno
import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path

NOT_REGULAR = "not a regular file, but a FIFO, socket or device"


def check_regular(path: str | Path) -> None:
    """Check that a path is that of a regular file, or of none, before a library opens it.

    Raises:
        OSError: a FIFO, socket or device.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # whoever opens it says why it can't be opened
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, NOT_REGULAR, str(path))


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file to read bytes; the caller closes it.

    Raises:
        OSError: it can't be opened; a FIFO, socket or device, for which this does not wait.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, NOT_REGULAR, str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: str | Path, max_bytes: int | None = None) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        max_bytes: the largest size; None: any.

    Raises:
        OSError: it can't be read, is no regular file, or is larger.
    """
    with open_regular(path) as file:
        data = file.read() if max_bytes is None else file.read(max_bytes + 1)
    if max_bytes is not None and len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than the limit of {max_bytes:,} bytes", str(path))
    return data


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a regular file, in hexadecimal digits; raises OSError as `open_regular` does."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
