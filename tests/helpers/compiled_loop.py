"""A call that is compiled when it runs for the first time, for the processes that measure memory."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np


def prepare(megabytes: int) -> Callable[[], Any]:
    """Return a call that makes an array of this size by a compiled loop."""
    import numba

    @numba.njit
    def add_positions(values: np.ndarray) -> np.ndarray:
        result = np.empty_like(values)
        for i in range(len(values)):
            result[i] = values[i] + i
        return result

    return partial(add_positions, np.ones(megabytes * 125_000))
