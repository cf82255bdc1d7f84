import random
from typing import Any

import numpy as np
import pytest
import torch

from unified_seg.checkpoint import read_checkpoint, write_checkpoint
from unified_seg.ops.random_numbers import get_random_state, keep_random_numbers, set_random_state


def draw() -> tuple[float, ...]:
    return random.gauss(0, 1), random.random(), np.random.rand(), np.random.randn(), torch.rand(()).item()


def test_a_state_survives_a_checkpoint(tmp_path: Any) -> None:
    draw()  # of the second Gaussian number one is kept
    write_checkpoint(tmp_path / "m.pth", {"random": get_random_state()})
    expected = [draw() for _ in range(3)]
    set_random_state(read_checkpoint(tmp_path / "m.pth")["random"])
    assert [draw() for _ in range(3)] == expected


def test_a_block_leaves_the_numbers_as_they_are() -> None:
    state = get_random_state()
    expected = draw()
    set_random_state(state)
    with keep_random_numbers():
        draw()
    assert draw() == expected


@pytest.mark.parametrize("part", ["python", "numpy", "torch"])
def test_a_damaged_state_changes_nothing(part: str) -> None:
    state = get_random_state()
    expected = draw()
    set_random_state(state)
    with pytest.raises((ValueError, TypeError, LookupError, RuntimeError)):
        set_random_state({**state, part: {"words": torch.zeros(3)} if part != "torch" else torch.zeros(3)})
    assert draw() == expected
