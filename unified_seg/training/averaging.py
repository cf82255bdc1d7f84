"""An exponential moving average of the weights, which is evaluated and saved in place of the trained weights.

Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging (1992); as in TensorFlow and timm the
decay grows with the number of steps, so that the first weights do not stay in the average of a short training.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unified_seg.checkpoint import CheckpointError


class WeightAverage:
    """The average of the weights and BatchNorm statistics of a model over its training steps.

    Args:
        model: the trained model; it is copied.
        decay: the share of the average that stays at each step, in [0, 1). In step t, from 0, it is at most
            (1 + t) / (10 + t); the first step replaces the average.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self._average = AveragedModel(model, multi_avg_fn=self._average_tensors, use_buffers=True)
        self._average.requires_grad_(False)

    @property
    def model(self) -> nn.Module:
        """The model with the average as its weights."""
        return self._average.module

    def update(self, model: nn.Module) -> None:
        """Take in the weights of a step."""
        self._average.update_parameters(model)

    def _average_tensors(self, averages: Any, weights: Any, num_steps: Any) -> None:
        if not averages[0].is_floating_point():  # all are of one type; an average of ids would be rounded down
            for average, weight in zip(averages, weights):
                average.copy_(weight)
            return
        steps = float(num_steps)
        get_ema_multi_avg_fn(min(self.decay, (1 + steps) / (10 + steps)))(averages, weights, num_steps)

    def state_dict(self, model: nn.Module) -> dict[str, Any]:
        """Return what a checkpoint needs beside the average: the trained weights and the number of steps."""
        return {"trained": model.state_dict(), "num_steps": int(self._average.n_averaged)}

    def load_num_steps(self, state: Mapping[str, Any]) -> None:
        """Continue the average of a checkpoint, whose weights the model has already."""
        self._average.n_averaged.fill_(state["num_steps"])


def load_trained_weights(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Load the trained weights of `WeightAverage.state_dict`; raises CheckpointError if they do not fit."""
    try:
        model.load_state_dict(state["trained"])
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"--resume: the trained weights do not fit: {' '.join(str(error).split())}") from None
