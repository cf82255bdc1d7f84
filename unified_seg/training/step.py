"""One training step, in full or mixed precision, on any device."""

import time
from collections.abc import Iterable
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer
from torch import nn

from unified_seg.config import ConfigError

PRECISIONS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def get_autocast_dtype(cfg: CfgNode) -> torch.dtype | None:
    """Return the autocast type of SOLVER.AMP, None for full precision.

    Raises:
        ConfigError: an unknown precision, or one that the device does not support.
    """
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    name = cfg.SOLVER.AMP.PRECISION
    if name not in PRECISIONS:
        raise ConfigError(f"SOLVER.AMP.PRECISION: {name!r} is not one of {', '.join(PRECISIONS)}")
    if name == "float16" and not cfg.MODEL.DEVICE.startswith("cuda"):
        raise ConfigError(f"SOLVER.AMP.PRECISION: float16 needs CUDA, MODEL.DEVICE is {cfg.MODEL.DEVICE}; use bfloat16")
    return PRECISIONS[name]


class StepTrainer(SimpleTrainer):
    """Detectron2's SimpleTrainer with autocast on any device; Detectron2's own AMPTrainer needs CUDA.

    Args:
        model: returns a dict of losses in training.
        data_loader: endless batches.
        optimizer: over the model's parameters.
        precision: the autocast type, None for full precision.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
        precision: torch.dtype | None = None,
    ):
        super().__init__(model, data_loader, optimizer)
        self.precision = precision
        self.device_type = next(model.parameters()).device.type
        # bfloat16 has the range of float32; only float16 needs its gradients scaled.
        self.grad_scaler = torch.amp.GradScaler(self.device_type, enabled=precision is torch.float16)

    def run_step(self) -> None:
        start = time.perf_counter()
        data = next(self._data_loader_iter)
        data_time = time.perf_counter() - start

        with torch.autocast(self.device_type, dtype=self.precision, enabled=self.precision is not None):
            losses = self.model(data)
        self.optimizer.zero_grad()
        self.grad_scaler.scale(sum(losses.values())).backward()

        # Raises on a loss that is not finite, before the optimizer can spoil the weights.
        self._write_metrics(losses, data_time)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizer and of the gradient scaler."""
        return {
            "optimizer_name": type(self.optimizer).__name__,
            "optimizer": self.optimizer.state_dict(),
            "grad_scaler": self.grad_scaler.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the result of `state_dict`; raise ValueError if it is of another optimizer or of other parameters."""
        name = type(self.optimizer).__name__
        if state_dict["optimizer_name"] != name:
            raise ValueError(f"SOLVER.OPTIMIZER was {state_dict['optimizer_name']}, is {name}")
        self.optimizer.load_state_dict(state_dict["optimizer"])
        # The state is empty if gradients were not scaled.
        if self.grad_scaler.is_enabled() and state_dict["grad_scaler"]:
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])
