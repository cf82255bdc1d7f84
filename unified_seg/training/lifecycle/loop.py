"""The loop over the steps of a training, which ends well: after a signal, after a loss that is not finite."""

import itertools
import logging
import signal
from collections.abc import Mapping
from typing import Any, NoReturn

from detectron2.engine import DefaultTrainer
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

from unified_seg.errors import UserError
from unified_seg.hints import format_hint
from unified_seg.ops.random_numbers import set_random_state
from unified_seg.training.lifecycle.checkpoints import CheckpointWriter
from unified_seg.training.lifecycle.processes import ProcessLost, is_lost_connection, share_signal
from unified_seg.training.lifecycle.signals import StopSignals, TrainingStopped
from unified_seg.training.step import StepTrainer, TrainingDiverged

logger = logging.getLogger(__name__)


class TrainingLoop(DefaultTrainer):
    """Detectron2's trainer with a loop of its own.

    Attributes:
        signals: that end the training.
        checkpoints: the hook that writes checkpoints.
        random_state: with which a resumed run goes on; None for a new one.
    """

    signals: StopSignals
    checkpoints: CheckpointWriter
    random_state: Mapping[str, Any] | None
    _trainer: StepTrainer

    def train_steps(self) -> None:
        """Do the steps that are left, with the hooks.

        Raises:
            TrainingDiverged: a loss, gradient or weight is not finite.
            TrainingStopped: a signal ended the training; a checkpoint of its last step is written.
            ProcessLost: another process of the run has ended.
        """
        logger.info(f"Starting training from iteration {self.start_iter}")
        self.iter = self.start_iter
        with EventStorage(self.start_iter) as self.storage, self.signals:
            try:
                self._loop()
                if self.signals.number:
                    self._save_after_signal()
            except Exception as error:
                self._raise_for_user(error)
            finally:
                self.after_train()
        if self.signals.number:
            raise TrainingStopped(self.signals.number)

    def after_step(self) -> None:
        super().after_step()
        if self.iter + 1 == self.max_iter:
            self.checkpoints.save_end()

    def _loop(self) -> None:
        try:
            if self.random_state is not None:
                set_random_state(self.random_state)
            self.before_train()
            self.checkpoints.save_missing_end()
            # A hook may lower `max_iter` to stop early.
            for iteration in itertools.takewhile(lambda i: i < self.max_iter, itertools.count(self.start_iter)):
                self.iter = iteration
                self.before_step()
                self.run_step()
                self.after_step()
                if self._is_stopped():
                    return
            self.iter = self.max_iter
        except TrainingStopped:
            pass  # in an evaluation, which the resumed run does again
        except RuntimeError:
            # Workers may get the signal too, so that there is no next batch; the step before is complete.
            if not (self.signals.number and self._trainer.batch is None):
                raise
            self.iter = self.checkpoints.num_complete - 1

    def _is_stopped(self) -> bool:
        self.signals.number = share_signal(self.signals.number)
        return self.signals.number > 0

    def _save_after_signal(self) -> None:
        self.checkpoints.save_last()
        name = signal.Signals(self.signals.number).name
        complete = self.checkpoints.num_complete
        goes_on = f"continues from the checkpoint in {self.cfg.OUTPUT_DIR}" if complete else "starts it again"
        logger.warning(f"{name}: the training has stopped after {complete} iterations; --resume {goes_on}")

    def _raise_for_user(self, error: Exception) -> NoReturn:
        """Raise an error again, in one line if the user can fix it."""
        if is_lost_connection(error):
            error = ProcessLost(
                f"iteration {self.iter}: another process of this run has ended, see its message; --resume continues "
                "from the last checkpoint"
            )
        elif isinstance(error, TrainingDiverged):
            name = self.checkpoints.set_diverged_aside() if comm.is_main_process() else ""
            rate = format_hint("--resume", "SOLVER.BASE_LR", float(f"{self.cfg.SOLVER.BASE_LR / 10:.6g}"))
            goes_on = f"continues from {name}" if name else "starts the run again"
            error = TrainingDiverged(f"{error}; a lower learning rate may help: {rate} {goes_on}")
        if isinstance(error, UserError):
            logger.error(str(error))
            raise error from None
        logger.error("Exception during training:", exc_info=error)
        raise error
