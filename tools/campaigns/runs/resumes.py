"""Trainings that a signal stops at a random step, and that are resumed."""

import random
import signal
from pathlib import Path
from typing import ClassVar

from campaigns.runs.comparison import describe_difference
from campaigns.runs.served import ServedCampaign, read_end
from campaigns.runs.tiny_run import ITERATIONS

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
# Optimizer, workers of the loader, moving average of the weights.
SETTINGS = {
    "SGD, 0 workers": ("SGD", 0, False),
    "SGD, 1 worker": ("SGD", 1, False),
    "SGD, 2 workers": ("SGD", 2, False),
    "SGD, 2 workers, average": ("SGD", 2, True),
    "AdamW, 0 workers": ("ADAMW", 0, False),
    "AdamW, 0 workers, average": ("ADAMW", 0, True),
    "AdamW, 1 worker": ("ADAMW", 1, False),
    "AdamW, 2 workers": ("ADAMW", 2, False),
}


class Resumes(ServedCampaign):
    """Each try: a training that stops after a random step, saves, and is resumed; the settings take turns."""

    name: ClassVar[str] = "resumes"
    claim: ClassVar[str] = (
        "a training that a signal stops exits with 128 + its number; resumed, it ends with weights, optimizer, random "
        "numbers and order of images that are those of one that was not stopped, bit for bit"
    )
    default: ClassVar[int] = 50 * len(SETTINGS)

    def attempt(self, seed: int, folder: Path) -> tuple[str, str | None]:
        draw = random.Random(seed)
        kind = list(SETTINGS)[seed % len(SETTINGS)]
        optimizer, workers, averaged = SETTINGS[kind]
        words = ["SOLVER.OPTIMIZER", optimizer, "DATALOADER.NUM_WORKERS", str(workers), "MODEL_EMA.ENABLED"]
        words.append(str(averaged))
        config, whole = self.server.folder / "config.yaml", self.server.folder / kind
        run, log = folder / "run", folder / "run.txt"
        if not whole.exists() and (status := self.train(log, config, whole, words)):
            return kind, f"without a signal it ends with {status}: {read_end(folder)}"
        number = draw.choice(SIGNALS)
        plan = {"signal": int(number), "after": draw.randint(1, ITERATIONS - 1)}
        if (status := self.train(log, config, run, words, plan)) != 128 + number:
            return kind, f"{number.name} after {plan['after']} steps: it ends with {status}: {read_end(folder)}"
        if status := self.train(log, config, run, words):
            return kind, f"resumed after {plan['after']} steps, it ends with {status}: {read_end(folder)}"
        return kind, describe_difference(run, whole)
