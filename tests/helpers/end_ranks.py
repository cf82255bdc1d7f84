"""Train the chain model in one of the processes of torchrun, of which one ends early; started by test_ended_ranks.py.

    end_ranks.py HOW:ITERATION ARGUMENT ...

HOW is what the second process does after a step: "signal" sends SIGTERM to itself, "kill" SIGKILL, "nothing" nothing.
"""

import os
import signal
import sys

import torch
from chain_model import register
from detectron2.utils import comm

from unified_seg.training.run import run
from unified_seg.training.trainer import Trainer

SIGNALS = {"signal": signal.SIGTERM, "kill": signal.SIGKILL}

if __name__ == "__main__":
    how, iteration = sys.argv[1].split(":")
    after_step = Trainer.after_step

    def after(self: Trainer) -> None:
        after_step(self)
        if comm.get_rank() == 1 and self.iter + 1 == int(iteration) and how in SIGNALS:
            os.kill(os.getpid(), SIGNALS[how])

    Trainer.after_step = after  # type: ignore[method-assign]
    torch.set_num_threads(1)
    register()
    run(sys.argv[2:])
