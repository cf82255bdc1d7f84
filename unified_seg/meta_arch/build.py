"""From a config to a model, with one clear error where there is none."""

import logging

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model as build_detectron2_model
from torch import nn

from unified_seg.config import ConfigError
from unified_seg.meta_arch.freezing import FreezableModel


def check_device(cfg: CfgNode) -> None:
    """Raises ConfigError where MODEL.DEVICE is no device, or a GPU that is not there."""
    name = cfg.MODEL.DEVICE
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"MODEL.DEVICE: {str(error).splitlines()[0]}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"MODEL.DEVICE {name}: PyTorch finds no GPU that it can use; MODEL.DEVICE cpu needs none")


def build_model(cfg: CfgNode) -> nn.Module:
    """The model of a config, on MODEL.DEVICE.

    Raises:
        ConfigError: unknown names, parts that do not go together, values that a part refuses; SOLVER.TRAIN_PARTS with
            nothing to train; keys that only UnifiedSegmentor reads, for another model; no such device.
    """
    check_device(cfg)
    try:
        model = build_detectron2_model(cfg)
    except (AssertionError, KeyError, ValueError) as error:
        # Detectron2 reports config mistakes by all three; the traceback is for who writes a part.
        logging.getLogger(__name__).debug("the model can't be built", exc_info=True)
        message = error.args[0] if error.args else f"{type(error).__name__} without a message"
        if isinstance(error, KeyError) and " " not in str(message):
            # A table of Detectron2's that lacks what a key names; registries speak in sentences.
            message = f"there is no {message!r}, which a key names"
        raise ConfigError(f"the model can't be built from this config: {message}") from error
    ours = {
        "SOLVER.TRAIN_PARTS": cfg.SOLVER.TRAIN_PARTS,
        "MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX": cfg.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX,
    }
    for key, value in ours.items():
        if value and not isinstance(model, FreezableModel):
            raise ConfigError(f"{key} needs MODEL.META_ARCHITECTURE UnifiedSegmentor, and it is {type(model).__name__}")
    return model
