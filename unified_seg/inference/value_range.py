"""The range of values of a training, which prediction and evaluation take too, see INPUT.DEFAULT_VALUE_RANGE."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

# The entry in the state of the trainer, in checkpoints.
VALUE_RANGE = "value_range"


def set_value_range(cfg: CfgNode, values: Sequence[float]) -> CfgNode:
    """Return a frozen config with INPUT.DEFAULT_VALUE_RANGE."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.DEFAULT_VALUE_RANGE = [float(value) for value in values]
    cfg.freeze()
    return cfg


def adopt_value_range(cfg: CfgNode, checkpoint: Mapping[str, Any], source: str | Path = "") -> CfgNode:
    """Return the config with the range of values that the weights were trained with, unless INPUT has one.

    Args:
        cfg: a resolved config.
        checkpoint: what `Checkpointer.load` returns.
        source: its file, for the log; by default MODEL.WEIGHTS.
    """
    values = checkpoint.get("trainer", checkpoint).get(VALUE_RANGE, [])
    if not values or cfg.INPUT.VALUE_RANGE or cfg.INPUT.DEFAULT_VALUE_RANGE:
        return cfg
    trained = f"as in the training of {source or cfg.MODEL.WEIGHTS}"
    message = f"INPUT.DEFAULT_VALUE_RANGE: {values[0]:g} to {values[1]:g}, {trained}"
    logging.getLogger(__name__).info(message)
    return set_value_range(cfg, values)
