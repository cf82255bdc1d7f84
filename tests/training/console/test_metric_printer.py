"""The losses in the log."""

import logging

import pytest
from detectron2.utils.events import EventStorage

from unified_seg.training.console.metric_printer import MetricPrinter


def test_an_iteration_is_written_twice_without_an_error(caplog: pytest.LogCaptureFixture) -> None:
    # As after a signal in the first iterations of a process, whose times are not known yet.
    printer = MetricPrinter(10)
    with caplog.at_level(logging.INFO), EventStorage(4) as storage:
        for _ in range(2):
            storage.put_scalar("total_loss", 1.5)
            printer.write()
    assert [("iter: 4" in text, "total_loss: 1.5" in text) for text in caplog.messages] == [(True, True)] * 2
