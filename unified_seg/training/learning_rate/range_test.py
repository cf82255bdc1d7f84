"""The learning rate range test: train some steps with a rate that rises from very low to too high.

Source: Smith, Cyclical Learning Rates for Training Neural Networks (2017), section 3.3; with a rate that grows
exponentially and an end when the loss explodes, as fastai has it.
"""

import logging
from typing import NamedTuple

import numpy as np
from detectron2.utils.events import EventStorage

from unified_seg.training.step import StepTrainer, TrainingDiverged

# The test ends at a smoothed loss of so many times the lowest one.
EXPLODED = 4.0
# The share of the earlier losses in a smoothed one.
SMOOTHING = 0.9
# The first and last steps, at whose rates the loss falls or rises by chance.
MARGIN = 5

logger = logging.getLogger(__name__)


class Curve(NamedTuple):
    """The losses of N steps.

    Attributes:
        rates: (N,) learning rates.
        losses: (N,) total losses.
    """

    rates: np.ndarray
    losses: np.ndarray

    def smooth(self) -> np.ndarray:
        """Return the (N,) exponential moving average of the losses, corrected for its start at 0."""
        average, smoothed = 0.0, []
        for number, loss in enumerate(self.losses, 1):
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            smoothed.append(average / (1 - SMOOTHING**number))
        return np.array(smoothed)

    def find_steepest(self) -> float | None:
        """Return the rate at which the smoothed loss falls fastest per factor; None for a curve that never falls."""
        smoothed = self.smooth()
        end = int(smoothed.argmin()) + 1
        if end < 3:
            return None
        slopes = np.gradient(smoothed[:end], np.log(self.rates[:end]))
        inner = slice(MARGIN, None) if end > 2 * MARGIN else slice(None)
        return float(self.rates[:end][inner][slopes[inner].argmin()])

    def find_lowest(self) -> float:
        """Return the rate at which the smoothed loss is lowest."""
        return float(self.rates[self.smooth().argmin()])


def run_range_test(
    trainer: StepTrainer, base_lr: float, lowest: float = 1e-6, highest: float = 1.0, num_steps: int = 100
) -> Curve:
    """Train with rising rates, and return the losses; the model is of no use after it.

    Args:
        trainer: with the model, the batches and the optimizer. Its groups keep the ratios of their rates.
        base_lr: SOLVER.BASE_LR, to which the rates of the groups are relative.
        lowest, highest: the rates of the first and the last step.
        num_steps: at most; the test ends before if the loss explodes.
    """
    # A schedule has set the rates of its first step, that of a warm-up.
    factors = [group.get("initial_lr", group["lr"]) / base_lr for group in trainer.optimizer.param_groups]
    losses: list[float] = []
    rates = np.geomspace(lowest, highest, num_steps)
    trainer.model.train()
    with EventStorage() as storage:
        for step, rate in enumerate(rates):
            trainer.iter = storage.iter = step
            for group, factor in zip(trainer.optimizer.param_groups, factors):
                group["lr"] = float(rate) * factor
            try:
                trainer.run_step()
            except TrainingDiverged as error:
                logger.info(f"the test ends: {error}")
                break
            losses.append(storage.history("total_loss").latest())
            smoothed = Curve(rates[: len(losses)], np.array(losses)).smooth()
            if step >= MARGIN and smoothed[-1] > EXPLODED * smoothed.min():
                break
    return Curve(rates[: len(losses)], np.array(losses))
