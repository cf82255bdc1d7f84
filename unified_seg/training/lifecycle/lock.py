"""One process at a time writes to the folder of a run or of predictions."""

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
def lock_folder(folder: str | Path, option: str = "OUTPUT_DIR") -> Iterator[None]:
    """Keep other processes from training, evaluating or predicting in a folder.

    The lock is the system's, which ends with the process, however it ends; the file only says who has it. It is a lock
    of this process alone: workers of a killed training, which live on for seconds, do not hold it.

    Args:
        folder: exists.
        option: the config key or option that names it, for messages.

    Raises:
        ConfigError: another process has the lock, or the file is a link or no regular file.
    """
    folder = Path(folder)
    where = f"{option} {folder}"
    descriptor = _open(folder / LOCK_FILE, where)
    try:
        if not _try_lock(descriptor, where):
            raise ConfigError(
                f"{where}: {_describe_owner(descriptor)} writes there; wait for its end, or choose another folder, "
                f"such as {format_hint(option, folder.with_name(f'{folder.name}_2'))}"
            )
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "command": shlex.join(sys.argv)}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode()[:MAX_BYTES], 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _open(file: Path, where: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(file, flags, 0o666)
    except OSError as error:
        raise ConfigError(f"{where}: {LOCK_FILE} can't be opened: {error.strerror}; remove it") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"{where}: {LOCK_FILE} is no regular file; remove it")
    return descriptor


def _try_lock(descriptor: int, where: str) -> bool:
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
        logger.warning(f"{where}: its file system has no locks ({error.strerror}): start no second run there")
    return True


def _describe_owner(descriptor: int) -> str:
    try:
        owner = json.loads(os.pread(descriptor, MAX_BYTES, 0))
        return f"process {owner['pid']} on {owner['host']} (since {owner['since']}: {owner['command']:.200})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
