"""Train a staged config of the chain model, killed at some steps and resumed; started by test_stages.py.

    interrupt_stages.py CONFIG OUTPUT FOLDER:ITERATION ...

FOLDER is the name of the folder that a stage writes to.

Each attempt is a process of its own that resumes from the checkpoint of the one before; the last one is not killed.
"""

import os
import signal
import sys
from pathlib import Path

import torch
from chain_model import register

from unified_seg.training.run import run
from unified_seg.training.trainer import Trainer


def attempt(arguments: list[str], kill_at: str) -> int:
    """Return the exit status of a process that trains; it is negative if a signal ended the process."""
    # Only this process has no threads yet, so that forking is safe.
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if kill_at:
                kill_in_step(*kill_at.split(":"))
            run(arguments)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_in_step(folder: str, iteration: str) -> None:
    run_step = Trainer.run_step

    def step(self: Trainer) -> None:
        if Path(self.cfg.OUTPUT_DIR).name == folder and self.iter == int(iteration):
            os.kill(os.getpid(), signal.SIGKILL)
        run_step(self)

    Trainer.run_step = step  # type: ignore[method-assign]


if __name__ == "__main__":
    config, output, *kills = sys.argv[1:]
    torch.set_num_threads(1)
    register()
    for number, kill_at in enumerate([*kills, ""]):
        flags = ["--resume"] if number else []
        status = attempt(["--config-file", config, *flags, "OUTPUT_DIR", output], kill_at)
        assert status == (-signal.SIGKILL if kill_at else 0), f"{kill_at}: exit status {status}"
