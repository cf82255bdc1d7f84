"""Just-in-time compilation by numba, for loops that tensor code cannot express."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import update_wrapper
from threading import RLock
from typing import Any

from unified_seg_files import get_cache_folder, make_private_folder

# The folder of the machine code; by default one in the cache folder.
VARIABLE = "UNIFIED_SEG_COMPILED"
# Threads share numba's setting of the folder; compiled functions compile those that they call.
_COMPILING = RLock()


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
            with _COMPILING:
                if self._dispatcher is None:
                    self._dispatcher = _jit(self._function)
        return self._dispatcher


def compiled(function: Callable[..., Any]) -> CompiledFunction:
    """Compile a function of numpy arrays and numbers at its first call; it releases the global interpreter lock.

    numba is imported then, too. The machine code is cached, so that only the first process compiles, in a folder that
    only the user can write to, since numba unpickles what it finds there. It is renewed if the function's own file
    changes, but not if another file does, so compiled functions may only call compiled functions of the same file.
    """
    return CompiledFunction(function)


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    import numba  # here, because importing it takes longer than the rest of this package

    names = function.__globals__
    for name in function.__code__.co_names:
        if isinstance(called := names.get(name), CompiledFunction):
            names[name] = called.compile()  # numba knows its own functions alone
    folder = os.environ.get(VARIABLE) or get_cache_folder() / "compiled"
    settings: Any = numba.config
    before = settings.CACHE_DIR
    try:
        make_private_folder(folder)
        settings.CACHE_DIR = str(folder)
        dispatcher: Any = numba.njit(nogil=True, cache=True)(function)
    except (RuntimeError, OSError):  # no folder of the user's own: every process compiles for itself
        return numba.njit(nogil=True)(function)
    finally:
        settings.CACHE_DIR = before
    _rebuild_what_does_not_load(dispatcher._cache)
    return dispatcher


def _rebuild_what_does_not_load(cache: Any) -> None:
    """Let a function be compiled again if its file in the cache is damaged, such as cut by a full disk."""
    load, save = cache.load_overload, cache.save_overload

    def load_or_forget(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:  # unpickling a damaged file raises anything
            with suppress(Exception):
                cache.flush()
            return None

    def try_to_save(*arguments: Any) -> None:
        with suppress(Exception):  # a full disk: the next process compiles again
            save(*arguments)

    cache.load_overload, cache.save_overload = load_or_forget, try_to_save
