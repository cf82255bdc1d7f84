from typing import Any

import pytest
import torch

from unified_seg.checkpoint import CheckpointError
from unified_seg.checkpoint.run_state import (
    read_config_text,
    read_iterations,
    read_seconds,
    read_trainer_state,
)


def test_sound_states_are_read() -> None:
    assert read_iterations({"iteration": 9}, "x") == 10 and read_iterations({}, "x") == 0
    assert read_seconds({"train_s": 2}, "x") == 2.0 and read_seconds({}, "x") == 0.0
    assert read_config_text({"config": "a: 1"}, "x") == "a: 1"
    assert read_trainer_state({"trainer": {"a": 1}}, "x") == {"a": 1} and read_trainer_state({}, "x") == {}


@pytest.mark.parametrize("value", ["9", float("nan"), 3.5, -500, None, [1], True, 1 << 60, torch.tensor(3)])
def test_other_iterations_are_named_on_one_line(value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"^x: .*iteration must be") as error:
        read_iterations({"iteration": value}, "x")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [read_seconds, read_config_text, read_trainer_state])
@pytest.mark.parametrize("value", [["x"], float("nan"), -1.0, None])
def test_other_values_are_named(read: Any, value: Any) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        read({"train_s": value, "config": value, "trainer": value}, "x")
