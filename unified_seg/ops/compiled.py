"""Just-in-time compilation by numba, for loops that tensor code cannot express."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any


class CompiledFunction:
    """A function of numpy arrays and numbers that is compiled at its first call; see `compiled`."""

    def __init__(self, function: Callable[..., Any]):
        update_wrapper(self, function)
        self._function = function
        self._dispatcher: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        return self.compile()(*arguments)

    def compile(self) -> Callable[..., Any]:
        """Return numba's function, which other compiled functions can call."""
        if self._dispatcher is None:
            self._dispatcher = _jit(self._function)
        return self._dispatcher


def compiled(function: Callable[..., Any]) -> CompiledFunction:
    """Compile a function of numpy arrays and numbers at its first call; it releases the global interpreter lock.

    numba is imported then, too. The machine code is cached beside the source or in the user's cache folder, so that
    only the first process compiles. It is renewed if the function's own file changes, but not if another file does, so
    compiled functions may only call compiled functions of the same file.
    """
    return CompiledFunction(function)


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    import numba  # here, because importing it takes longer than the rest of this package

    names = function.__globals__
    for name in function.__code__.co_names:
        if isinstance(called := names.get(name), CompiledFunction):
            names[name] = called.compile()  # numba knows its own functions alone
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no writable folder for the cache: every process compiles for itself
        return numba.njit(nogil=True)(function)
