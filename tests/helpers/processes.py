"""Run Python scripts in processes of their own, without each of them importing PyTorch and Detectron2 anew.

The imports take longer than what most tests run. A server process, which has neither threads nor this project's
modules, does them once; each script runs in a fork of it.
"""

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess

import torch

# What unified_seg and the tools import of others.
DETECTRON2 = ("detectron2.engine", "detectron2.evaluation", "detectron2.modeling", "detectron2.utils.visualizer")
PRELOADED = (*DETECTRON2, "numba", "scipy.stats")


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
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        environment = {**os.environ, **(env or {})}
        self.process: BaseProcess = context.Process(
            target=_run, args=(self.command, environment, cwd or Path.cwd(), self._files)
        )
        self.process.start()

    def wait(self, timeout: float = 300) -> CompletedProcess[str]:
        """Return the exit status and what was printed; raises TimeoutError after `timeout` seconds."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"{' '.join(self.command)} runs for more than {timeout} s")
        stdout, stderr = (file.read_text() for file in self._files)
        self._folder.cleanup()
        return CompletedProcess(self.command, self.process.exitcode, stdout, stderr)


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


def _run(command: list[str], environment: dict[str, str], cwd: Path, files: Sequence[Path]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, file in enumerate(files, 1):
        with file.open("wb") as stream:
            os.dup2(stream.fileno(), number)
    torch.set_num_threads(1)
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name="__main__")
