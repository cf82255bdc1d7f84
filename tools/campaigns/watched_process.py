"""A process that reads hostile files, and is watched while it does: what it opens, starts and connects to.

Python tells its audit hooks of all this; of what a library in C does by itself it knows nothing.
"""

import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from unified_seg_cli.tool import describe_system_error, one_line_message

#: A read that takes longer hangs.
SECONDS = 30.0
#: Bytes that a read may need above what the process has already; small files must not need gigabytes.
MEMORY = 2 << 30

STARTS_OF_PROCESSES = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "subprocess.Popen",
    "pty.spawn",
)
CONNECTIONS = ("socket.connect", "socket.sendto", "urllib.Request", "ftplib.connect", "smtplib.connect")


class WatchedProcess:
    """A process that runs functions of a module, one after another.

    Args:
        module: its name; it is imported once, so that PyTorch is too.
    """

    def __init__(self, module: str):
        self.module = module
        self._process: Any = None
        self._connection: Connection | None = None

    def call(self, function: str, folder: Path, forbidden: Path, argument: Any) -> str | None:
        """Call `module.function(folder, argument)`.

        Returns:
            What it did that it must not: start a process, connect, open a file in `forbidden`, end with a traceback
            instead of an error for the user, hang, crash. None if it held.
        """
        if self._process is None or not self._process.is_alive():
            self._start()
        assert self._connection is not None
        self._connection.send((function, folder, forbidden, argument))
        if not self._connection.poll(SECONDS):
            self.stop()
            return f"hangs for more than {SECONDS:.0f} s"
        try:
            return self._connection.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self.stop()
            return f"ends the process (exit code {code})"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._connection = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, self.module), daemon=True)
        self._process.start()
        other.close()
        self._connection.recv()  # when all is imported


def _work(connection: Connection, name: str) -> None:
    import importlib

    module = importlib.import_module(name)
    watch = _Watch()
    sys.addaudithook(watch)
    connection.send(None)
    while True:
        try:
            function, folder, forbidden, argument = connection.recv()
        except EOFError:
            return
        connection.send(watch.run(getattr(module, function), folder, forbidden, argument))


class _Watch:
    """An audit hook, which Python calls for all that it opens and runs, and which can't be removed."""

    def __init__(self) -> None:
        self.forbidden: str | None = None
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.forbidden is None:
            return
        if event in STARTS_OF_PROCESSES or event in CONNECTIONS:
            self.seen.append(f"{event} {arguments!r:.100}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if path == self.forbidden or path.startswith(f"{self.forbidden}/"):
                self.seen.append(f"opens {path}")

    def run(self, function: Callable[[Path, Any], object], folder: Path, forbidden: Path, argument: Any) -> str | None:
        before = _list(forbidden)
        self.seen = []
        used, limit = _used_memory(), resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limit[1]))
        start = time.monotonic()
        self.forbidden = os.path.realpath(forbidden)
        caught: BaseException | None = None
        try:
            function(folder, argument)
        except BaseException as error:
            caught = error
        finally:
            self.forbidden = None
            resource.setrlimit(resource.RLIMIT_AS, limit)
        failure = None if caught is None else _describe(caught)
        if self.seen:
            return "; ".join(self.seen)
        if _list(forbidden) != before:
            return f"changes {forbidden}"
        if failure is None and time.monotonic() - start > SECONDS / 3:
            return f"takes {time.monotonic() - start:.0f} s"
        return failure


def _describe(error: BaseException) -> str | None:
    """Return the end of the traceback of an error that is not one for the user."""
    errors = sys.modules.get("unified_seg.errors")  # a reader that does not import it raises none
    message = str(error)
    if errors is not None and isinstance(error, errors.UserError):
        return "its message has control characters" if "\x1b" in one_line_message(error) else None
    if isinstance(error, Exception) and describe_system_error(error) is not None:
        return None
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {message[:200]} ({Path(last.filename).name}:{last.lineno})"


def _used_memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _list(folder: Path) -> list[tuple[str, int, int]]:
    files = sorted(folder.rglob("*"))
    return [(str(file), file.lstat().st_size, file.lstat().st_mtime_ns) for file in files]
