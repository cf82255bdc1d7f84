"""How a command-line tool ends: with its result, or with one line about an error that the user can fix."""

import errno
import importlib
import signal
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable
from typing import Any, TypeVar

from unified_seg_files import escape_log_records, escape_unprintable

Result = TypeVar("Result")

# Packages that `unified-seg setup` installs, without which nothing works.
NEEDED = ("detectron2", "cv2")

# By number: how PyTorch's message of the error reads, and what to do.
SYSTEM_ERRORS = {
    errno.ENOSPC: ("No space left on device", "make room on the disk, then start again"),
    errno.EDQUOT: ("Disk quota exceeded", "make room in your quota, then start again"),
    errno.EFBIG: ("File too large", "the system limits the size of a file (`ulimit -f`)"),
    errno.EROFS: ("Read-only file system", "choose a folder that can be written to"),
    errno.EACCES: ("Permission denied", "choose a folder that can be written to, or change its permissions"),
    errno.EPERM: ("Operation not permitted", "choose a folder that can be written to, or change its permissions"),
    errno.EMFILE: ("Too many open files", "allow more with `ulimit -n 4096`, or set DATALOADER.NUM_WORKERS lower"),
    errno.ENFILE: ("Too many open files in system", "close other programs"),
    errno.ENAMETOOLONG: ("File name too long", "choose shorter names"),
    errno.EISDIR: ("Is a directory", "a folder is where a file is expected; move it away"),
    errno.ENOTDIR: ("Not a directory", "a file is where a folder is expected; move it away"),
    errno.EEXIST: ("File exists", "a file is where a folder is expected; move it away"),
    errno.ENOENT: ("No such file or directory", "it is missing, or was removed meanwhile"),
    errno.EIO: ("Input/output error", "check the disk"),
}


class Interrupted(SystemExit):
    """The end of a tool by a signal, with the exit status that shells have for it.

    Args:
        number: of the signal.
        message: for the user, who sees it on standard error.
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.code = 128 + number
        print(message, file=sys.stderr, flush=True)


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
        also: errors that end the tool in the same way as UserError. Errors of the system that a user can fix, such as
            a full disk, always do, see `describe_system_error`.
        interrupted: the line to print after Ctrl-C.
        error_status: the exit status after an error.

    Raises:
        SystemExit: on UserError, on one of `also`, on an error of the system and on Ctrl-C.
    """
    escape_log_records()
    if not sys.warnoptions:
        # Packages warn their own developers of their future at each import; a training writes them to log.txt.
        warnings.simplefilter("ignore", FutureWarning)
    try:
        return run()
    except KeyboardInterrupt:
        raise Interrupted(signal.SIGINT, f"\n{interrupted}") from None
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (package := (error.name or "").partition(".")[0]) in NEEDED:
            sys.exit(f"{package} is not installed; `unified-seg setup` installs it, see docs/install.md")
        # Imported here, because it takes PyTorch with it.
        errors = importlib.import_module("unified_seg.errors")
        if isinstance(error, (errors.UserError, *also)):
            message = one_line_message(error)
        elif (cause := describe_system_error(error)) is not None:
            message = cause
        else:
            raise
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
    return escape_unprintable(f"{name}: {text}", keep="\n")


def describe_system_error(error: Exception) -> str | None:
    """Return one line about an error of the system that a user can fix, with what to do; None for another error."""
    text = " ".join(str(error).split())
    for number, (sign, advice) in SYSTEM_ERRORS.items():
        # PyTorch raises a RuntimeError with the text of the system's error.
        if (isinstance(error, OSError) and error.errno == number) or (isinstance(error, RuntimeError) and sign in text):
            line = text.rpartition("Original Traceback")[2][-300:] if len(text) > 300 else text
            return escape_unprintable(f"{type(error).__name__}: {line}; {advice}")
    return None
