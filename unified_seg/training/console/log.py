"""The log of a run: everything goes to log.txt, and what a reader waits for to the console."""

import logging
import sys
import warnings

from detectron2.utils.logger import setup_logger

LOGGERS = ("fvcore", "detectron2", "unified_seg")


class ConsoleFormatter(logging.Formatter):
    """Plain lines; of a long warning only the first line, since log.txt has the rest."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.levelno < logging.WARNING:
            return text
        first, *rest = text.splitlines() or [""]
        more = f" ({len(rest)} more lines in log.txt)" if rest else ""
        return f"{record.levelname}: {first}{more}"


class WarningMemory(logging.Handler):
    """Keeps the warnings since the last call of `take`, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(ConsoleFormatter())
        self._lines: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self._lines[self.format(record)] = None

    def take(self) -> list[str]:
        """Return the warnings, and forget them."""
        lines, self._lines = list(self._lines), {}
        return lines


#: Of the loggers of this process; a training shows these warnings again right before its first step.
memory = WarningMemory()


def set_up_logging(folder: str, rank: int) -> None:
    """Let the loggers write to log.txt in a folder, and to the console what `is_for_console` accepts.

    Warnings of Python, which packages give their own developers, only go to log.txt. `memory` forgets the warnings of
    an earlier run in this process.

    Args:
        folder: of the run.
        rank: of this process; the first one alone has a console, the others have a log.txt.rank<number>.
    """
    memory.take()
    for name in LOGGERS:
        short = {"abbrev_name": "unified_seg"} if name == "unified_seg" else {}
        logger = setup_logger(folder, distributed_rank=rank, name=name, **short)
        for handler in logger.handlers:
            if _is_console(handler):
                handler.setFormatter(ConsoleFormatter())
                handler.addFilter(is_for_console)
    logging.captureWarnings(True)
    if not sys.warnoptions:
        warnings.simplefilter("default", FutureWarning)
    # Detectron2's report of the environment lets it warn on each machine without a GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    of_python = logging.getLogger("py.warnings")
    of_python.propagate = False
    for handler in logger.handlers:
        if handler is not memory and not _is_console(handler):
            of_python.addHandler(handler)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(memory)


def is_for_console(record: logging.LogRecord) -> bool:
    """Return whether a record is a warning, an error, or was logged with `words.ON_CONSOLE`."""
    return record.levelno >= logging.WARNING or getattr(record, "on_console", False)


def _is_console(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout
