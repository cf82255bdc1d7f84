"""Optimizers and learning-rate schedules by name."""

import logging
import math
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, WarmupParamScheduler
from detectron2.solver import build_lr_scheduler as build_detectron2_scheduler
from detectron2.solver.build import GradientClipType, get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils import comm
from detectron2.utils.logger import log_first_n
from fvcore.common.param_scheduler import ParamScheduler
from torch import nn

from unified_seg.config import ConfigError

CLIP_TYPES = [each.value for each in GradientClipType]


def check_solver(cfg: CfgNode) -> None:
    """Check the keys of SOLVER that would otherwise stop a training late; warn if the warm-up never ends.

    Raises:
        ConfigError: iterations, batch size or period of checkpoints below 1; a batch that the processes can't share;
            an unknown type of clipping.
    """
    solver, processes = cfg.SOLVER, comm.get_world_size()
    for key in ("MAX_ITER", "IMS_PER_BATCH", "CHECKPOINT_PERIOD"):
        if solver[key] < 1:
            raise ConfigError(f"SOLVER.{key}: must be 1 or more, got {solver[key]}")
    if solver.IMS_PER_BATCH % processes:
        raise ConfigError(
            f"SOLVER.IMS_PER_BATCH: must be a multiple of the {processes} processes, got {solver.IMS_PER_BATCH}"
        )
    if solver.CLIP_GRADIENTS.ENABLED and solver.CLIP_GRADIENTS.CLIP_TYPE not in CLIP_TYPES:
        raise ConfigError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE: must be one of {', '.join(CLIP_TYPES)}, got "
            f"{solver.CLIP_GRADIENTS.CLIP_TYPE!r}"
        )
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

    The learning rate of parameters outside the pretrained backbone is multiplied by SOLVER.NEW_LAYERS_LR_FACTOR;
    schedules scale each group's own rate, so that the factor holds for the whole run.

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
    groups = _split_new_layers(groups, model, solver.NEW_LAYERS_LR_FACTOR)
    common: dict[str, Any] = {"lr": solver.BASE_LR, "weight_decay": solver.WEIGHT_DECAY}
    if solver.FUSED:
        common["fused"] = True  # else the choice of PyTorch
    if solver.OPTIMIZER == "SGD":
        sgd = maybe_add_gradient_clipping(cfg, torch.optim.SGD)
        return sgd(groups, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV, **common)
    adams: dict[str, type[torch.optim.Optimizer]] = {"ADAM": torch.optim.Adam, "ADAMW": torch.optim.AdamW}
    if solver.OPTIMIZER not in adams:
        raise ConfigError(f"SOLVER.OPTIMIZER: must be one of SGD, {', '.join(adams)}, got {solver.OPTIMIZER!r}")
    return maybe_add_gradient_clipping(cfg, adams[solver.OPTIMIZER])(groups, **common)


def _split_new_layers(groups: list[dict[str, Any]], model: nn.Module, factor: float) -> list[dict[str, Any]]:
    """Split each group with parameters of the pretrained backbone and others in two; the others get the factor.

    Pretrained is `model.backbone`, in an FPN its `bottom_up`; in a model without a backbone everything is new.
    """
    if not 0 < factor < math.inf:
        raise ConfigError(f"SOLVER.NEW_LAYERS_LR_FACTOR: must be a number above 0, got {factor}")
    if factor == 1:
        return groups
    backbone = getattr(model, "backbone", nn.Module())
    pretrained = {id(parameter) for parameter in getattr(backbone, "bottom_up", backbone).parameters()}
    split = []
    for group in groups:
        old = [parameter for parameter in group["params"] if id(parameter) in pretrained]
        new = [parameter for parameter in group["params"] if id(parameter) not in pretrained]
        split += [{**group, "params": old}, {**group, "params": new, "lr": factor * group["lr"]}]
    return [group for group in split if group["params"]]


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
        ConfigError: an unknown name.
    """
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME not in ("WarmupPolyLR", "WarmupLinearLR"):
        try:
            return build_detectron2_scheduler(cfg, optimizer)
        except ValueError as error:
            raise ConfigError(f"SOLVER.LR_SCHEDULER_NAME: {error}") from None
    power = solver.POLY_LR_POWER if solver.LR_SCHEDULER_NAME == "WarmupPolyLR" else 1.0
    schedule = WarmupParamScheduler(
        PolyParamScheduler(power, solver.POLY_LR_CONSTANT_ENDING),
        solver.WARMUP_FACTOR,
        min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
        solver.WARMUP_METHOD,
    )
    return LRMultiplier(optimizer, multiplier=schedule, max_iter=solver.MAX_ITER)
