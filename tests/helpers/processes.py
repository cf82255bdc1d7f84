"""Run Python scripts in processes of their own, without each of them importing PyTorch and Detectron2 anew.

The imports take longer than what most tests run. A server is forked off the process that runs the tests, before that
has threads or imports this project; each script runs in a fork of the server.
"""

import importlib
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from subprocess import CompletedProcess

import torch

# Results are compared to more digits than bfloat16 has, whatever CPU runs the tests, here and in the scripts.
torch.cpu.get_capabilities = dict  # type: ignore[assignment]

# What unified_seg and the tools import of others.
DETECTRON2 = ("detectron2.engine", "detectron2.evaluation", "detectron2.modeling", "detectron2.utils.visualizer")
for name in (*DETECTRON2, "numba", "scipy.stats"):
    importlib.import_module(name)


class ScriptServer:
    """A process that runs each script in a fork of itself."""

    def __init__(self) -> None:
        self._connection, other = multiprocessing.Pipe()
        self._exit_statuses: dict[int, int] = {}
        if os.fork() == 0:
            try:
                self._connection.close()
                _serve(other)
            finally:
                os._exit(0)
        other.close()

    def start(self, *arguments: object) -> int:
        """Start `_run` with these arguments; return the id of its process."""
        self._connection.send(arguments)
        while not isinstance(message := self._connection.recv(), int):
            self._exit_statuses.update([message])
        return message

    def wait(self, pid: int, timeout: float) -> int | None:
        """Return the exit status of a process, negative if a signal ended it; None after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while pid not in self._exit_statuses and self._connection.poll(max(deadline - time.monotonic(), 0)):
            self._exit_statuses.update([self._connection.recv()])
        return self._exit_statuses.pop(pid, None)


def _serve(connection: Connection) -> None:
    """Run scripts until the other end of the connection is closed."""
    context = multiprocessing.get_context("fork")
    running: dict[int, multiprocessing.process.BaseProcess] = {}
    while True:
        for ready in wait([connection, *running]):
            if ready is not connection:
                process = running.pop(ready)  # type: ignore[call-overload]
                process.join()
                connection.send((process.pid, process.exitcode))
                continue
            try:
                arguments = connection.recv()
            except EOFError:
                for process in running.values():
                    process.kill()
                return
            process = context.Process(target=_run, args=arguments)
            process.start()
            running[process.sentinel] = process
            connection.send(process.pid)


class Script:
    """A running script.

    Args:
        path: of the script.
        arguments: of its command line.
        env: added to the environment.
        cwd: the working directory; default: this process's.
    """

    def __init__(
        self,
        path: Path | str,
        arguments: Sequence[object] = (),
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ):
        self.command = [str(path), *map(str, arguments)]
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        environment = {**os.environ, **(env or {})}
        self._pid = _SERVER.start(self.command, environment, cwd or Path.cwd(), self._files, sys.path)

    def terminate(self) -> None:
        os.kill(self._pid, signal.SIGTERM)

    def wait(self, timeout: float = 300) -> CompletedProcess[str]:
        """Return the exit status and what was printed; raises TimeoutError after `timeout` seconds."""
        status = _SERVER.wait(self._pid, timeout)
        if status is None:
            os.kill(self._pid, signal.SIGKILL)
            raise TimeoutError(f"{' '.join(self.command)} runs for more than {timeout} s")
        stdout, stderr = (file.read_text() for file in self._files)
        self._folder.cleanup()
        return CompletedProcess(self.command, status, stdout, stderr)


def run_script(path: Path | str, *arguments: object, **options: object) -> CompletedProcess[str]:
    """Run a script to its end; arguments: see Script."""
    return Script(path, arguments, **options).wait()  # type: ignore[arg-type]


def run_ranks(count: int, path: Path | str, *arguments: object, env: Mapping[str, str]) -> list[CompletedProcess[str]]:
    """Run a script in `count` processes, with the environment variables that torchrun sets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**env, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    shared |= {"LOCAL_WORLD_SIZE": str(count), "TORCHELASTIC_RUN_ID": "test"}
    ranks = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    return [script.wait() for script in [Script(path, arguments, env=rank) for rank in ranks]]


def _run(
    command: list[str], environment: dict[str, str], cwd: Path, files: Sequence[Path], search_path: list[str]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, file in enumerate(files, 1):
        with file.open("wb") as stream:
            os.dup2(stream.fileno(), number)
    # Those of pytest, which are captured, are not the standard streams of the script.
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    torch.set_num_threads(1)
    sys.argv = command
    sys.path[:] = search_path
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name="__main__")


# It is forked as soon as this module is imported, see tests/conftest.py.
_SERVER = ScriptServer()
