"""How a command-line tool ends: with its result, or with one line about an error that the user can fix."""

import importlib
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_command(module: str, args: Namespace, **options: Any) -> Any:
    """Import the module that does the work of a tool, and return what its function `run` returns.

    Args:
        module: its full name.
        args: the options.
        options: see `run_tool`.

    Raises:
        SystemExit: see `run_tool`.
    """
    return run_tool(lambda: importlib.import_module(module).run(args), **options)


def run_tool(
    run: Callable[[], Result],
    *,
    also: tuple[type[Exception], ...] = (),
    interrupted: str = "interrupted",
    error_status: int = 1,
) -> Result:
    """Return what `run` returns, or end the process with one line, without a traceback.

    Args:
        run: the work of the tool.
        also: errors that end the tool in the same way as UserError; OSError for a tool that writes many files, because
            of a full disk or missing permissions.
        interrupted: the line to print after Ctrl-C.
        error_status: the exit status after an error.

    Raises:
        SystemExit: on UserError, on one of `also` and on Ctrl-C.
    """
    try:
        return run()
    except KeyboardInterrupt:
        sys.exit(f"\n{interrupted}")
    except Exception as error:
        # Imported here, because it takes PyTorch with it.
        errors = importlib.import_module("unified_seg.errors")
        if not isinstance(error, (errors.UserError, *also)):
            raise
        message = one_line_message(error)
    if error_status == 1:
        sys.exit(message)  # prints it to standard error
    print(message, file=sys.stderr)
    sys.exit(error_status)


def one_line_message(error: Exception) -> str:
    """Return `Kind: message`.

    PyTorch raises an error of a data loader's worker again with the worker's traceback as its message; the message
    itself is at the end of it.
    """
    name, text = type(error).__name__, str(error)
    if "Original Traceback" in text:
        text = text.rpartition(f"{name}: ")[2].strip()
    return f"{name}: {text}"
