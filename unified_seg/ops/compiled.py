"""Loops that tensor code can't say, compiled on the user's machine by numba."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of numpy arrays and numbers at its first call; other threads may run meanwhile.

    The machine code is kept beside the source or in the user's cache folder, so that only the first process compiles.
    It is renewed when the function's own file changes, and no other: compiled functions call those of their file alone.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither folder can be written to: every process compiles for itself
        return numba.njit(nogil=True)(function)
