"""Optimizers and learning-rate schedules by name."""

import difflib
import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, WarmupParamScheduler
from detectron2.solver import build_lr_scheduler as build_detectron2_scheduler
from detectron2.solver.build import (
    GradientClipType,
    _generate_optimizer_class_with_gradient_clipping,
    get_default_optimizer_params,
    maybe_add_gradient_clipping,
)
from detectron2.utils import comm
from detectron2.utils.logger import log_first_n
from fvcore.common.param_scheduler import ParamScheduler
from torch import nn

from unified_seg.config import ConfigError

FULL_MODEL = "full_model"
CLIP_TYPES = [*(each.value for each in GradientClipType), FULL_MODEL]


def check_solver(cfg: CfgNode) -> None:
    """Check the keys of SOLVER that would otherwise stop a training late; warn if the warm-up never ends.

    Raises:
        ConfigError: iterations, batch size or period of checkpoints below 1; a batch that the processes can't share or
            that can't be split; an unknown type of clipping; a value that an optimizer or a schedule refuses.
    """
    solver, processes = cfg.SOLVER, comm.get_world_size()
    for key in ("MAX_ITER", "IMS_PER_BATCH", "ACCUMULATION_STEPS", "CHECKPOINT_PERIOD"):
        if solver[key] < 1:
            raise ConfigError(f"SOLVER.{key}: must be 1 or more, got {solver[key]}")
    if solver.IMS_PER_BATCH % processes:
        raise ConfigError(
            f"SOLVER.IMS_PER_BATCH: must be a multiple of the {processes} processes, got {solver.IMS_PER_BATCH}"
        )
    images = solver.IMS_PER_BATCH // processes
    if images % solver.ACCUMULATION_STEPS:
        raise ConfigError(
            f"SOLVER.ACCUMULATION_STEPS: {solver.ACCUMULATION_STEPS} parts of the same size can't be made of the "
            f"{images} images of a batch (SOLVER.IMS_PER_BATCH) in each process"
        )
    if solver.CLIP_GRADIENTS.ENABLED and solver.CLIP_GRADIENTS.CLIP_TYPE not in CLIP_TYPES:
        raise ConfigError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE: must be one of {', '.join(CLIP_TYPES)}, got "
            f"{solver.CLIP_GRADIENTS.CLIP_TYPE!r}"
        )
    if solver.CLIP_GRADIENTS.ENABLED and not solver.CLIP_GRADIENTS.CLIP_VALUE > 0:
        raise ConfigError(f"SOLVER.CLIP_GRADIENTS.CLIP_VALUE: must be above 0, got {solver.CLIP_GRADIENTS.CLIP_VALUE}")
    if solver.OPTIMIZER == "SGD" and solver.NESTEROV and not solver.MOMENTUM > 0:
        raise ConfigError(f"SOLVER.NESTEROV: needs a SOLVER.MOMENTUM above 0, got {solver.MOMENTUM}")
    if solver.POLY_LR_POWER < 0:
        raise ConfigError(f"SOLVER.POLY_LR_POWER: must be 0 or more, got {solver.POLY_LR_POWER}")
    if solver.KEEP_CHECKPOINTS < 0:
        raise ConfigError(f"SOLVER.KEEP_CHECKPOINTS: must be 0 or more, got {solver.KEEP_CHECKPOINTS}")
    if solver.EARLY_STOPPING.PATIENCE < 0:
        raise ConfigError(f"SOLVER.EARLY_STOPPING.PATIENCE: must be 0 or more, got {solver.EARLY_STOPPING.PATIENCE}")
    if not 0 <= cfg.MODEL_EMA.DECAY < 1:
        raise ConfigError(f"MODEL_EMA.DECAY: must be in [0, 1), got {cfg.MODEL_EMA.DECAY}")
    if cfg.MODEL_EMA.ENABLED and cfg.TEST.PRECISE_BN.ENABLED:
        raise ConfigError("MODEL_EMA.ENABLED: TEST.PRECISE_BN measures other weights than the average; use one of them")
    if solver.WARMUP_ITERS >= solver.MAX_ITER:
        message = (
            f"SOLVER.WARMUP_ITERS: {solver.WARMUP_ITERS} is not below SOLVER.MAX_ITER {solver.MAX_ITER}, so the "
            "learning rate never reaches SOLVER.BASE_LR"
        )
        log_first_n(logging.WARNING, message, key="message")


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """Build SOLVER.OPTIMIZER for the model's trainable parameters, with Detectron2's parameter groups and clipping.

    The learning rate of parameters outside the pretrained backbone is multiplied by SOLVER.NEW_LAYERS_LR_FACTOR, and
    that of the modules in SOLVER.LR_FACTORS by their factors; schedules scale each group's own rate, so that the
    factors hold for the whole run.

    Raises:
        ConfigError: an unknown name, a factor that is not above 0, or clipping for a fused optimizer.
    """
    solver = cfg.SOLVER
    if solver.FUSED and solver.CLIP_GRADIENTS.ENABLED:
        # In mixed precision a fused optimizer gets scaled gradients, which Detectron2 would clip.
        raise ConfigError("SOLVER.FUSED must be False with SOLVER.CLIP_GRADIENTS.ENABLED")
    groups = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
    )
    groups = _split_by_factor(groups, _find_factors(model, solver.NEW_LAYERS_LR_FACTOR, solver.LR_FACTORS))
    common: dict[str, Any] = {"lr": solver.BASE_LR, "weight_decay": solver.WEIGHT_DECAY}
    if solver.FUSED:
        common["fused"] = True  # else the choice of PyTorch
    if solver.OPTIMIZER == "SGD":
        sgd = _add_clipping(cfg, torch.optim.SGD)
        return sgd(groups, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV, **common)
    adams: dict[str, type[torch.optim.Optimizer]] = {"ADAM": torch.optim.Adam, "ADAMW": torch.optim.AdamW}
    if solver.OPTIMIZER not in adams:
        raise ConfigError(f"SOLVER.OPTIMIZER: must be one of SGD, {', '.join(adams)}, got {solver.OPTIMIZER!r}")
    return _add_clipping(cfg, adams[solver.OPTIMIZER])(groups, **common)


def _add_clipping(cfg: CfgNode, optimizer: type[torch.optim.Optimizer]) -> Any:
    """Return a class of optimizers that clips gradients as SOLVER.CLIP_GRADIENTS says.

    Detectron2's types clip each parameter for itself; FULL_MODEL clips the norm over all of them.
    """
    clipping = cfg.SOLVER.CLIP_GRADIENTS
    if not clipping.ENABLED or clipping.CLIP_TYPE != FULL_MODEL:
        return maybe_add_gradient_clipping(cfg, optimizer)

    def clip(parameters: Any) -> None:
        nn.utils.clip_grad_norm_(list(parameters), clipping.CLIP_VALUE, clipping.NORM_TYPE)

    return _generate_optimizer_class_with_gradient_clipping(optimizer, global_clipper=clip)


def _find_factors(model: nn.Module, new_layers: float, by_path: Sequence[Any]) -> dict[int, float]:
    """Return the factor of the learning rate of each parameter, by its id.

    Args:
        model: pretrained is `model.backbone`, in an FPN its `bottom_up`; in a model without a backbone everything is
            new.
        new_layers: the factor of what is not pretrained.
        by_path: [path of a module or parameter, factor]; of those that contain a parameter the last one holds, in
            addition to `new_layers`.

    Raises:
        ConfigError: see `build_optimizer`.
    """
    _check_factor("NEW_LAYERS_LR_FACTOR", new_layers)
    backbone = getattr(model, "backbone", nn.Module())
    pretrained = {id(parameter) for parameter in getattr(backbone, "bottom_up", backbone).parameters()}
    named = dict(model.named_parameters())
    factors = {id(parameter): 1.0 if id(parameter) in pretrained else new_layers for parameter in named.values()}
    own: dict[int, float] = {}
    for entry in by_path:
        if len(entry) != 2 or not isinstance(entry[0], str):
            raise ConfigError(f"SOLVER.LR_FACTORS: expected [path of a module, factor], got {entry}")
        path, factor = entry
        _check_factor(f"LR_FACTORS: {path}", factor)
        found = [id(parameter) for name, parameter in named.items() if f"{name}.".startswith(f"{path}.")]
        if not found:
            known = [*dict(model.named_modules()), *named]
            close = difflib.get_close_matches(path, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"SOLVER.LR_FACTORS: the model has no parameters in {path!r}{hint}")
        own |= dict.fromkeys(found, float(factor))
    return {key: factor * own.get(key, 1.0) for key, factor in factors.items()}


def _check_factor(key: str, factor: Any) -> None:
    if not isinstance(factor, (int, float)) or not 0 < factor < math.inf:
        raise ConfigError(f"SOLVER.{key}: must be a number above 0, got {factor}")


def _split_by_factor(groups: list[dict[str, Any]], factors: dict[int, float]) -> list[dict[str, Any]]:
    """Split each group into one for each factor of the learning rate, the factor 1 first."""
    split = []
    for group in groups:
        for factor in dict.fromkeys([1.0, *(factors[id(parameter)] for parameter in group["params"])]):
            params = [parameter for parameter in group["params"] if factors[id(parameter)] == factor]
            if params:
                split.append({**group, "params": params, "lr": factor * group["lr"]})
    return split


class PolyParamScheduler(ParamScheduler):
    """A schedule (1 - t) ** power, at least `constant_ending`; t goes from 0 to 1."""

    def __init__(self, power: float, constant_ending: float = 0.0):
        self.power = power
        self.constant_ending = constant_ending

    def __call__(self, where: float) -> float:
        return max((1.0 - where) ** self.power, self.constant_ending)


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """Build SOLVER.LR_SCHEDULER_NAME: "WarmupPolyLR", "WarmupLinearLR" or one of Detectron2's.

    Raises:
        ConfigError: an unknown name of a schedule or of SOLVER.WARMUP_METHOD.
    """
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME not in ("WarmupPolyLR", "WarmupLinearLR"):
        try:
            return build_detectron2_scheduler(cfg, optimizer)
        except ValueError as error:
            raise ConfigError(f"SOLVER.LR_SCHEDULER_NAME: {error}") from None
    if solver.WARMUP_METHOD not in ("constant", "linear"):
        raise ConfigError(f"SOLVER.WARMUP_METHOD: must be constant or linear, got {solver.WARMUP_METHOD!r}")
    power = solver.POLY_LR_POWER if solver.LR_SCHEDULER_NAME == "WarmupPolyLR" else 1.0
    schedule = WarmupParamScheduler(
        PolyParamScheduler(power, solver.POLY_LR_CONSTANT_ENDING),
        solver.WARMUP_FACTOR,
        min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
        solver.WARMUP_METHOD,
    )
    return LRMultiplier(optimizer, multiplier=schedule, max_iter=solver.MAX_ITER)
