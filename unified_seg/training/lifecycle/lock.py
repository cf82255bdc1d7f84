"""One process at a time writes to the folder of a run."""

import json
import logging
import os
import shlex
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from unified_seg.config import ConfigError
from unified_seg.hints import format_hint

LOCK_FILE = "run.lock"
MAX_BYTES = 4096

logger = logging.getLogger(__name__)


@contextmanager
def lock_folder(folder: str | Path) -> Iterator[None]:
    """Keep other processes from training or evaluating in the folder of a run.

    The lock is the system's, which ends with the process, however it ends; the file only says who has it. It is a lock
    of this process alone: workers of a killed training, which live on for seconds, do not hold it.

    Raises:
        ConfigError: another process has the lock, or the file is a link or no regular file.
    """
    folder = Path(folder)
    descriptor = _open(folder)
    try:
        if not _try_lock(descriptor):
            raise ConfigError(
                f"OUTPUT_DIR {folder}: {_describe_owner(descriptor)} writes there; wait for its end, or choose another "
                f"folder, such as {format_hint('OUTPUT_DIR', folder.with_name(f'{folder.name}_2'))}"
            )
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "command": shlex.join(sys.argv)}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode()[:MAX_BYTES], 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(folder / LOCK_FILE, flags, 0o666)
    except OSError as error:
        raise ConfigError(f"OUTPUT_DIR {folder}: {LOCK_FILE} can't be opened: {error.strerror}; remove it") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"OUTPUT_DIR {folder}: {LOCK_FILE} is no regular file; remove it")
    return descriptor


def _try_lock(descriptor: int) -> bool:
    """Return whether this process got the lock, or the system has none."""
    try:
        import fcntl  # Unix alone
    except ImportError:
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        logger.warning(f"the file system of OUTPUT_DIR has no locks ({error.strerror}): start no second run there")
    return True


def _describe_owner(descriptor: int) -> str:
    try:
        owner = json.loads(os.pread(descriptor, MAX_BYTES, 0))
        return f"process {owner['pid']} on {owner['host']} (since {owner['since']}: {owner['command']:.200})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
