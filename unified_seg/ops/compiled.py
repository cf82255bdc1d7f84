"""Just-in-time compilation by numba, for loops that tensor code cannot express."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of numpy arrays and numbers at its first call; it releases the global interpreter lock.

    The machine code is cached beside the source or in the user's cache folder, so that only the first process compiles.
    It is renewed if the function's own file changes, but not if another file does, so compiled functions may only call
    compiled functions of the same file.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no writable folder for the cache: every process compiles for itself
        return numba.njit(nogil=True)(function)
