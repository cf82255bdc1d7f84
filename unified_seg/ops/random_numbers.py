"""The states of the random number generators of Python, NumPy and PyTorch."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

PYTHON_VERSION = 3  # of the states of `random`


def get_random_state() -> dict[str, Any]:
    """Return the states of all generators as tensors and numbers: "python", "numpy", "torch" and with a GPU "cuda"."""
    _, words, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=False)
    state: dict[str, Any] = {
        "python": {"words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "words": torch.from_numpy(numpy["state"]["key"].astype(np.int64)),
            "numbers": [numpy["state"]["pos"], numpy["has_gauss"], numpy["gauss"]],
        },
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Let the generators go on from the result of `get_random_state`; that of a GPU only if there is one now too.

    Raises:
        ValueError, TypeError, LookupError, RuntimeError: the state is damaged. No generator is changed.
    """
    before = get_random_state()
    try:
        _set_random_state(state)
    except Exception:
        _set_random_state(before)
        raise


def _set_random_state(state: Mapping[str, Any]) -> None:
    python, numpy = state["python"], state["numpy"]
    random.setstate((PYTHON_VERSION, tuple(python["words"].tolist()), python["gauss"]))
    np.random.set_state(("MT19937", numpy["words"].numpy().astype(np.uint32), *numpy["numbers"]))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def keep_random_numbers() -> Iterator[None]:
    """Let the generators on the CPU go on, after a block, with the numbers that they had before it."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
