"""A process that prepares what trainings share, and calls functions, each in a fork of itself.

Starting Python with PyTorch takes seconds, a training of a campaign one.
"""

import importlib
import multiprocessing
import os
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

#: A call that takes longer hangs.
SECONDS = 120.0


class ForkServer:
    """The server; its calls can be killed, which leaves it alone.

    Args:
        module: the name of a module with the functions; its function `prepare(folder)` is called once.
        folder: for what `prepare` writes.
    """

    def __init__(self, module: str, folder: Path):
        self.folder = folder
        # A new process, not a fork: PyTorch can't compute gradients in a fork of a process that has done so.
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, module, folder))
        self._process.start()
        other.close()
        self._connection.recv()  # when it is prepared

    def call(self, function: str, log: Path, *arguments: Any) -> int:
        """Call a function with its output in a file.

        Returns:
            The exit status, negative if a signal ended it. A call that hangs is killed.
        """
        self._connection.send((function, log, arguments))
        return self._connection.recv()

    def stop(self) -> None:
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, name: str, folder: Path) -> None:
    # Workers of loaders are forks again: a spawned process would spawn its own.
    multiprocessing.set_start_method("fork", force=True)
    module = importlib.import_module(name)
    module.prepare(folder)
    connection.send(None)
    while True:
        try:
            function, log, arguments = connection.recv()
        except EOFError:
            return
        child = os.fork()
        if child == 0:
            _run(getattr(module, function), log, arguments)
        connection.send(_wait(child))


def _run(function: Any, log: Path, arguments: tuple[Any, ...]) -> None:
    """Call the function and end the process."""
    status = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        function(*arguments)
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            os.write(2, end.code.encode())
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _wait(child: int) -> int:
    deadline = time.monotonic() + SECONDS
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, 9)
            deadline += SECONDS
        time.sleep(0.002)
