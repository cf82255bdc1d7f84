"""The progress of a training on the console: a bar in a terminal, else a few lines."""

import logging
import sys
import time
from contextlib import suppress
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils.events import get_event_storage
from tqdm import tqdm

from unified_seg.config.stages import FINAL_WEIGHTS
from unified_seg.hints import format_hint
from unified_seg.training.console.log import memory
from unified_seg.words import ON_CONSOLE

# Without a terminal there is a line for each of these parts of the run, and one after so many seconds.
PARTS = 10
SECONDS_BETWEEN_LINES = 600.0

logger = logging.getLogger(__name__)


class Progress(HookBase):
    """A hook that shows the plan and the warnings before the first step, then the progress.

    The first line, which terminals have too, tells how long the training will take, without its evaluations. The
    trainer's `train_s` is the time in steps.

    Args:
        plan: see `describe_plan`.
    """

    def __init__(self, plan: str):
        self.plan = plan

    def before_train(self) -> None:
        trainer = self.trainer
        logger.info(self.plan, extra=ON_CONSOLE)
        for warning in memory.take():
            logger.info(warning, extra=ON_CONSOLE)
        if trainer.start_iter:
            logger.info(f"continues after iteration {trainer.start_iter:,}", extra=ON_CONSOLE)
        self._seconds_before = trainer.train_s
        # The first steps on a GPU prepare it and take longer than the others.
        self._first_line = 1 if trainer.cfg.MODEL.DEVICE == "cpu" else 20
        self._last_line = time.monotonic()
        self.bar = tqdm(
            initial=trainer.start_iter,
            total=trainer.max_iter,
            desc="training",
            unit="it",
            disable=None,
            file=sys.stderr,
        )

    def after_step(self) -> None:
        loss = get_event_storage().latest().get("total_loss")
        shown = f"{loss[0]:.3f}" if loss is not None else "?"
        done, total = self.trainer.iter + 1, self.trainer.max_iter
        self.bar.set_postfix(loss=shown, refresh=False)
        self.bar.update()
        steps = done - self.trainer.start_iter
        seconds = (self.trainer.train_s - self._seconds_before) / steps
        if steps == 1:  # the first batch waits for the workers to start
            seconds -= get_event_storage().latest().get("data_time", (0.0, 0))[0]
        left = format_seconds(seconds * (total - done))
        if steps == self._first_line or (self.bar.disable and self._is_due(done, total)):
            self._log(f"iteration {done:,} of {total:,}: loss {shown}, {seconds:.2f} s each, about {left} left")

    def after_train(self) -> None:
        self.bar.close()

    def _is_due(self, done: int, total: int) -> bool:
        in_new_part = done * PARTS // total > (done - 1) * PARTS // total
        return in_new_part or time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES

    def _log(self, text: str) -> None:
        self._last_line = time.monotonic()
        with tqdm.external_write_mode(file=sys.stdout):
            logger.info(text, extra=ON_CONSOLE)


def is_in_training(cfg: CfgNode) -> bool:
    """Return whether a training of this config is running and has steps left."""
    with suppress(AssertionError):  # there is no storage outside of a training
        return get_event_storage().iter + 1 < cfg.SOLVER.MAX_ITER
    return False


def show_next_step(folder: str | Path) -> None:
    """Tell, after a training, where its weights are and how to draw their predictions."""
    weights = Path(folder) / FINAL_WEIGHTS
    draw = format_hint("unified-seg", "demo", "--weights", weights, "--input", "photo.jpg", "--output", "drawn.png")
    logger.info(f"the weights are {weights}; to draw predictions: {draw}", extra=ON_CONSOLE)


def format_seconds(seconds: float) -> str:
    """Return a duration in one or two units: "48 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
