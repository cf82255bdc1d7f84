"""The range of values of a training, which prediction and evaluation take too, see INPUT.DEFAULT_VALUE_RANGE."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from unified_seg.checkpoint import CheckpointError
from unified_seg.checkpoint.run_state import read_trainer_state
from unified_seg.config import replace_values

# The entry in the state of the trainer, in checkpoints.
VALUE_RANGE = "value_range"


def set_value_range(cfg: CfgNode, values: Sequence[float]) -> CfgNode:
    """Return a frozen config with INPUT.DEFAULT_VALUE_RANGE."""
    return replace_values(cfg, {"INPUT.DEFAULT_VALUE_RANGE": [float(value) for value in values]})


def adopt_value_range(cfg: CfgNode, checkpoint: Mapping[str, Any], source: str | Path = "") -> CfgNode:
    """Return the config with the range of values that the weights were trained with, unless INPUT has one or stretches.

    Args:
        cfg: a resolved config.
        checkpoint: what `Checkpointer.load` returns.
        source: its file, for the log; by default MODEL.WEIGHTS.

    Raises:
        CheckpointError: a damaged range.
    """
    where = f"weights {source or cfg.MODEL.WEIGHTS}"
    values = (read_trainer_state(checkpoint, where) or checkpoint).get(VALUE_RANGE, [])
    if values and not _is_range(values):
        raise CheckpointError(f"{where}: damaged: {VALUE_RANGE} must be two numbers, got {values!r:.80}")
    if not values or any(cfg.INPUT[key] for key in ("VALUE_RANGE", "DEFAULT_VALUE_RANGE", "STRETCH_PERCENTILES")):
        return cfg
    trained = f"as in the training of {source or cfg.MODEL.WEIGHTS}"
    message = f"INPUT.DEFAULT_VALUE_RANGE: {values[0]:g} to {values[1]:g}, {trained}"
    logging.getLogger(__name__).info(message)
    return set_value_range(cfg, values)


def _is_range(values: Any) -> bool:
    if not isinstance(values, (list, tuple)) or len(values) != 2:
        return False
    is_number = all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)
    return is_number and values[0] < values[1]
