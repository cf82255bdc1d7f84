"""The state of a run in a checkpoint, checked before it is used: it may be damaged, or of another program."""

import math
from collections.abc import Mapping
from typing import Any

from unified_seg.checkpoint.files import CheckpointError


def read_iterations(state: Mapping[str, Any], source: object) -> int:
    """Return how many iterations a run had when its state was written; 0 if the state does not say.

    Args:
        state: with `iteration`, the last one, counted from 0.
        source: of the state, for errors.

    Raises:
        CheckpointError: not a whole number from -1 on.
    """
    value = state.get("iteration", -1)
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value < 2**53:
        raise _junk(source, "iteration", value, "a whole number of at least 0")
    return value + 1


def read_seconds(state: Mapping[str, Any], source: object) -> float:
    """Return the seconds of training in a state, 0 if it does not say; raises CheckpointError."""
    value = state.get("train_s", 0.0)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise _junk(source, "train_s", value, "a number of seconds")
    return float(value)


def read_config_text(state: Mapping[str, Any], source: object) -> str:
    """Return the config in a state, "" if it has none; raises CheckpointError."""
    value = state.get("config", "")
    if not isinstance(value, str):
        raise _junk(source, "config", value, "a text")
    return value


def read_trainer_state(checkpoint: Mapping[str, Any], source: object) -> dict[str, Any]:
    """Return the state of the trainer in a checkpoint, {} if it has none; raises CheckpointError."""
    value = checkpoint.get("trainer", {})
    if not isinstance(value, dict):
        raise _junk(source, "trainer", value, "a dictionary")
    return value


def _junk(source: object, name: str, value: Any, expected: str) -> CheckpointError:
    return CheckpointError(f"{source}: the state of the run is damaged: {name} must be {expected}, got {value!r:.80}")
