"""One training step, in full or mixed precision, on any device."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from torch import distributed, nn

from unified_seg.config import ConfigError
from unified_seg.errors import UserError
from unified_seg.hints import format_hint
from unified_seg.ops.losses import part_of_batch
from unified_seg.words import join_some

# Of the classes of optimizers that Detectron2 makes for SOLVER.CLIP_GRADIENTS.
CLIPPING_SUFFIX = "WithGradientClip"
PRECISIONS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class TrainingDiverged(UserError, FloatingPointError):
    """A loss, a gradient or a weight is not finite; the message names it."""


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
        raise ConfigError(
            f"SOLVER.AMP.PRECISION: float16 needs CUDA, MODEL.DEVICE is {cfg.MODEL.DEVICE}; use "
            f"{format_hint('SOLVER.AMP.PRECISION', 'bfloat16')}"
        )
    return PRECISIONS[name]


class StepTrainer(SimpleTrainer):
    """Detectron2's SimpleTrainer with autocast on any device, and with accumulation of gradients.

    Detectron2's own AMPTrainer needs CUDA.

    Args:
        model: returns a dict of losses in training.
        data_loader: endless batches.
        optimizer: over the model's parameters.
        precision: the autocast type, None for full precision.
        accumulation_steps: parts of equal size into which a batch is split. They are processed one after another, and
            their gradients are added up before the step of the optimizer.
        ignore_value: the semantic label of pixels without a class.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
        precision: torch.dtype | None = None,
        accumulation_steps: int = 1,
        ignore_value: int = 255,
    ):
        super().__init__(model, data_loader, optimizer)
        self.precision = precision
        self.accumulation_steps = accumulation_steps
        self.ignore_value = ignore_value
        self.device_type = next(model.parameters()).device.type
        # bfloat16 has the range of float32; only float16 needs its gradients scaled.
        self.grad_scaler = torch.amp.GradScaler(self.device_type, enabled=precision is torch.float16)
        self.batch: list[dict[str, Any]] | None = None  # of the step; None while it is loaded

    def run_step(self) -> None:
        """Train on the next batch.

        Raises:
            TrainingDiverged: a loss or a gradient is not finite; the weights are those before the step.
        """
        start = time.perf_counter()
        self.batch = None
        self.batch = batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start

        self.optimizer.zero_grad()
        losses = self._compute_gradients(batch)

        # All numbers of the step come from the device at once.
        largest = self._find_largest_gradient()
        numbers = torch.stack([*losses.values(), largest]).cpu()
        values = dict(zip(losses, numbers))
        self._check_finite(values, numbers[-1])
        self._write_metrics(values, data_time)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def _compute_gradients(self, batch: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Add the gradients of a batch to those of the parameters; return its losses, without their graphs."""
        count = self.accumulation_steps
        if count == 1:
            return self._backpropagate(batch, 1)
        size = len(batch) // count
        parts = [batch[start : start + size] for start in range(0, len(batch), size)]
        totals: dict[str, torch.Tensor] = {}
        for number, (part, weight) in enumerate(zip(parts, self._weigh_parts(parts)), 1):
            # The processes exchange their gradients once, with the last part.
            with self._keep_gradients(number < count), part_of_batch(weight):
                losses = self._backpropagate(part, count)
            totals = {name: totals.get(name, 0) + loss / count for name, loss in losses.items()}
        return totals

    def _keep_gradients(self, in_process: bool) -> AbstractContextManager[None]:
        """Return a context in which gradients stay in their process, if there are several and it is asked for."""
        if in_process and isinstance(self.model, nn.parallel.DistributedDataParallel):
            return self.model.no_sync()
        return nullcontext()

    def _backpropagate(self, images: Sequence[dict[str, Any]], divisor: int) -> dict[str, torch.Tensor]:
        """Add the gradients of the images' losses, divided by a number; return the losses, not divided."""
        with torch.autocast(self.device_type, dtype=self.precision, enabled=self.precision is not None):
            losses = self.model(images)
        total = sum(losses.values())
        self.grad_scaler.scale(total if divisor == 1 else total / divisor).backward()
        return {name: loss.detach().float() for name, loss in losses.items()}

    def _weigh_parts(self, parts: Sequence[Sequence[dict[str, Any]]]) -> Sequence[torch.Tensor | float]:
        """Return the weight of each part for `part_of_batch`, from the labeled pixels of all processes."""
        labels = [[image["sem_seg"] for image in part if "sem_seg" in image] for part in parts]
        counts = [sum(int((label != self.ignore_value).sum()) for label in part) for part in labels]
        pixels = torch.tensor(counts, dtype=torch.float64, device=self.device_type)
        if comm.get_world_size() > 1:
            distributed.all_reduce(pixels)
        return (pixels * len(parts) / pixels.sum().clamp(min=1)).float().unbind()

    def _find_largest_gradient(self) -> torch.Tensor:
        """Return the largest absolute value of a gradient; 0 for scaled gradients, of which the scaler skips some."""
        gradients = [parameter.grad for parameter in self._trained_parameters() if parameter.grad is not None]
        if self.grad_scaler.is_enabled() or not gradients:
            return torch.zeros((), device=self.device_type)
        return torch.stack(torch._foreach_norm(gradients, math.inf)).max().float()

    def _check_finite(self, losses: Mapping[str, torch.Tensor], largest_gradient: torch.Tensor) -> None:
        """Raise TrainingDiverged with what is not finite, and with what the user needs to find the cause."""
        faults = [f"{name} is {value.item()}" for name, value in losses.items() if not value.isfinite()]
        if not faults and largest_gradient.isfinite():
            return
        if not faults:
            named = zip(self._list_parameters(), self._trained_parameters())
            faults = [f"the gradient of {name}" for name, parameter in named if not _is_finite(parameter.grad)]
            faults = [f"{faults[0]} is not finite"]
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        files = join_some((str(each.get("file_name", "?")) for each in self.batch or ()), 8)
        raise TrainingDiverged(
            f"the training diverged at iteration={self.iter}: {', '.join(faults)} (learning rate {rate:g}; "
            f"images: {files})"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizer, with the names of its parameters, and of the gradient scaler."""
        return {
            "optimizer_name": self._name_optimizer(),
            "optimizer": self.optimizer.state_dict(),
            "parameters": self._list_parameters(),
            "grad_scaler": self.grad_scaler.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the result of `state_dict`, without learning rates and the like: those of this optimizer stay.

        A parameter that was not trained before starts without momentum.

        Raises:
            ValueError: the state is of another optimizer, of parameters of other shapes, or, from an earlier version
                that did not save the names of the parameters, of other groups of parameters.
        """
        name = self._name_optimizer()
        before = state_dict["optimizer_name"].removesuffix(CLIPPING_SUFFIX)
        if before != name:
            raise ValueError(f"SOLVER.OPTIMIZER was {before}, is {name}")
        saved, own, names = state_dict["optimizer"], self.optimizer.state_dict(), self._list_parameters()
        if "parameters" not in state_dict and _group_sizes(saved) != _group_sizes(own):
            raise ValueError(
                "the parameters of the optimizer were in other groups; SOLVER.BIAS_LR_FACTOR, WEIGHT_DECAY_BIAS, "
                "WEIGHT_DECAY_NORM, NEW_LAYERS_LR_FACTOR and TRAIN_PARTS must be as they were"
            )
        # Both numbers are positions in the groups, one group after another.
        number_of = {name: number for number, name in enumerate(state_dict.get("parameters", names))}
        numbers = ((number, number_of.get(name)) for number, name in enumerate(names))
        own["state"] = {number: saved["state"][old] for number, old in numbers if old in saved["state"]}
        parameters = self._trained_parameters()
        for number, values in own["state"].items():
            _check_shapes(values, parameters[number], names[number])
        self.optimizer.load_state_dict(own)
        # Momentum lies in memory as it was saved; parameters as MODEL.UNIFIED.MEMORY_FORMAT now says.
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                if name != "step" and isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        # The state is empty if gradients were not scaled.
        if self.grad_scaler.is_enabled() and state_dict["grad_scaler"]:
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])

    def _name_optimizer(self) -> str:
        """Return the class of the optimizer, which has the same state with and without clipping of gradients."""
        return type(self.optimizer).__name__.removesuffix(CLIPPING_SUFFIX)

    def _list_parameters(self) -> list[str]:
        """Return the names of the optimizer's parameters, in the order of its groups."""
        name_of = {id(parameter): name for name, parameter in unwrap(self.model).named_parameters()}
        return [name_of[id(parameter)] for parameter in self._trained_parameters()]

    def _trained_parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def _is_finite(gradient: torch.Tensor | None) -> bool:
    return gradient is None or bool(gradient.isfinite().all())


def _check_shapes(values: dict[str, Any], parameter: nn.Parameter, name: str) -> None:
    """Raise ValueError if the state of a parameter has another shape, which the optimizer would find in its step."""
    for key, value in values.items():
        if isinstance(value, torch.Tensor) and value.numel() != 1 and value.shape != parameter.shape:
            raise ValueError(f"{key} of {name} has shape {tuple(value.shape)}, expected {tuple(parameter.shape)}")
        if not isinstance(value, torch.Tensor | int | float | None):
            raise ValueError(f"{key} of {name} is a {type(value).__name__}")


def _group_sizes(state: dict[str, Any]) -> list[int]:
    return [len(group["params"]) for group in state["param_groups"]]


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model without its DistributedDataParallel."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
