"""From a config to a model, with one clear error if it can't be built."""

import logging

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model as build_detectron2_model
from torch import nn

from unified_seg.config import ConfigError
from unified_seg.config.heads import training_keys
from unified_seg.config.reading import get_value
from unified_seg.hints import format_hint
from unified_seg.meta_arch.freezing import FreezableModel


def check_device(cfg: CfgNode) -> None:
    """Raise ConfigError if MODEL.DEVICE is not a device, or a GPU that PyTorch does not find."""
    name = cfg.MODEL.DEVICE
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"MODEL.DEVICE: {str(error).splitlines()[0]}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"MODEL.DEVICE {name}: PyTorch finds no GPU that it can use; use {format_hint('MODEL.DEVICE', 'cpu')}"
        )


def build_model(cfg: CfgNode) -> nn.Module:
    """Build the model of a config, on MODEL.DEVICE.

    Raises:
        ConfigError: unknown names, parts that do not go together, values that a part refuses; SOLVER.TRAIN_PARTS with
            nothing to train; keys that only UnifiedSegmentor reads, for another model; an unknown device.
    """
    check_device(cfg)
    try:
        model = build_detectron2_model(cfg)
    except (AssertionError, KeyError, ValueError) as error:
        # Detectron2 reports config mistakes by all three; the traceback helps authors of a part.
        logging.getLogger(__name__).debug("the model can't be built", exc_info=True)
        message = error.args[0] if error.args else f"{type(error).__name__} without a message"
        if isinstance(error, KeyError) and " " not in str(message):
            # A plain look-up in a table of Detectron2; its registries raise whole sentences.
            message = f"a key names {message!r}, which is unknown"
        raise ConfigError(f"the model can't be built from this config: {message}") from error
    if not isinstance(model, FreezableModel):
        for key in training_keys():
            if get_value(cfg, key):
                raise ConfigError(
                    f"{key} needs MODEL.META_ARCHITECTURE UnifiedSegmentor, got {cfg.MODEL.META_ARCHITECTURE}"
                )
    return model
