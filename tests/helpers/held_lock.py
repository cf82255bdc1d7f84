"""A process that has the lock of a folder."""

import os
import signal
import time
from pathlib import Path

from unified_seg.training.lifecycle.lock import lock_folder


def hold_lock(folder: Path) -> int:
    """Return the process that has the lock of a folder."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with lock_folder(folder):
            os.write(writer, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
    return child


def end_process(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
