"""Trainings that are killed with -9 at random moments and resumed; most of the kills while a checkpoint is written."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from campaigns.runs.comparison import describe_difference, describe_loss
from campaigns.runs.served import ServedCampaign, read_end
from campaigns.runs.tiny_run import ITERATIONS, KILLED, PERIOD

MOST_KILLS = 3  # of a try
SAVES = ITERATIONS // PERIOD + 1
# Within a save, which takes some milliseconds, and within a whole run.
SECONDS_OF_SAVE, SECONDS_OF_RUN = 0.03, 1.5


class Kills(ServedCampaign):
    """Each try: a training that is killed up to three times and resumed each time, until it is complete."""

    name: ClassVar[str] = "kills"
    claim: ClassVar[str] = (
        "a training that is killed with -9 and resumed loses at most one interval of checkpoints, and ends with the "
        "weights, states and images of one that was not"
    )
    default: ClassVar[int] = 200
    config: ClassVar[str] = "config.yaml"

    @contextmanager
    def prepared(self, folder: Path) -> Iterator[None]:
        with super().prepared(folder):
            shared = self.server.folder
            self.settings, self.whole = shared / self.config, shared / self.name
            if status := self.train(shared / "whole.txt", self.settings, self.whole):
                raise RuntimeError(f"a training without interruptions ends with {status}: {read_end(shared)}")
            yield

    def attempt(self, seed: int, folder: Path) -> tuple[str, str | None]:
        draw = random.Random(seed)
        run, log = folder / "run", folder / "run.txt"
        kind = ""
        for _ in range(draw.randint(1, MOST_KILLS)):
            status = self.train(log, self.settings, run, plan=draw_plan(draw, seed % 4 > 0))
            if status == 0:
                break  # it was complete before the kill
            if status != -signal.SIGKILL:
                return kind, f"ends with {status} instead of a kill: {read_end(folder)}"
            kind = max(kind, read_kind(run))  # "while saving" is the last in the alphabet
        if status := self.train(log, self.settings, run):
            return kind, f"resumed, it ends with {status}: {read_end(folder)}"
        return kind or "complete before the kill", describe_loss(run) or describe_difference(run, self.whole)


class StagedKills(Kills):
    """Each try: as `Kills`, with a run of three stages, which is killed within its stages and between them."""

    name: ClassVar[str] = "staged-kills"
    claim: ClassVar[str] = (
        "a run of three stages that is killed with -9 and resumed goes on in its stage, and ends as one that was not"
    )
    default: ClassVar[int] = 30
    config: ClassVar[str] = "staged.yaml"


def draw_plan(draw: random.Random, while_saving: bool) -> dict[str, Any]:
    """Return when a training is killed, see `tiny_run.train`."""
    if while_saving:
        return {"kill_save": draw.randint(1, SAVES), "kill_s": draw.uniform(0, SECONDS_OF_SAVE)}
    return {"kill_s": draw.uniform(0, SECONDS_OF_RUN)}


def read_kind(run: Path) -> str:
    """Return in which state a training was killed, as the process that killed it writes a moment later."""
    file = run / KILLED
    while not file.exists():
        time.sleep(0.002)
    kind = file.read_text()
    file.unlink()
    return kind
