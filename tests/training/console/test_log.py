"""What goes to the console and to log.txt."""

import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from unified_seg.training.console.log import LOGGERS, memory, set_up_logging
from unified_seg.words import ON_CONSOLE

logger = logging.getLogger("unified_seg.test")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a run; the loggers have no handlers, and those of other tests come back afterwards."""
    names = (*LOGGERS, "py.warnings")
    before = {name: logging.getLogger(name).handlers[:] for name in names}
    for name in names:
        logging.getLogger(name).handlers.clear()
    memory.take()
    yield tmp_path
    memory.take()
    logging.captureWarnings(False)
    for name, handlers in before.items():
        logging.getLogger(name).handlers[:] = handlers


def test_log_file_has_everything_and_the_console_what_a_reader_waits_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(str(folder), 0)
    logger.debug("tables")
    logger.info("the whole config")
    logger.info("the plan", extra=ON_CONSOLE)
    logger.warning("first\nsecond\nthird")
    warnings.warn("a package's own", FutureWarning, stacklevel=1)
    assert capsys.readouterr().out == "the plan\nWARNING: first (2 more lines in log.txt)\n"
    log = (folder / "log.txt").read_text()
    for text in ("tables", "the whole config", "the plan", "first\nsecond\nthird", "FutureWarning: a package's own"):
        assert text in log
    assert re.search(r"unified_seg\.test WARNING: first", log)


def test_setting_up_again_adds_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(str(folder), 0)
    set_up_logging(str(folder), 0)
    logger.info("once", extra=ON_CONSOLE)
    assert capsys.readouterr().out == "once\n"
    assert (folder / "log.txt").read_text().count("once") == 1


def test_warnings_are_kept_once_until_they_are_taken(folder: Path) -> None:
    set_up_logging(str(folder), 0)
    for text in ("a", "b", "a"):
        logging.getLogger("detectron2.test").warning(text)
    logger.error("an error ends the training anyway")
    assert memory.take() == ["WARNING: a", "WARNING: b"]
    assert memory.take() == []


def test_other_processes_have_no_console(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(str(folder), 1)
    logger.info("hello", extra=ON_CONSOLE)
    assert capsys.readouterr().out == "" and "hello" in (folder / "log.txt.rank1").read_text()
