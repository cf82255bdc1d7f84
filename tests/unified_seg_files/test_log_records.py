import logging

import pytest

from unified_seg_files import escape_log_records


def test_control_characters_of_others_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.getLogRecordFactory()
    try:
        escape_log_records()
        escape_log_records()
        with caplog.at_level(logging.INFO):
            logging.getLogger("unified_seg.data").info("class %s", "\x1b]0;owned\x07car\x1b[2J\udc80")
            logging.getLogger("detectron2.engine").info("\x1b[36ma table\n| a\x1b[0m")
            logging.getLogger("other").info("\x1b[36m")
    finally:
        logging.setLogRecordFactory(before)
    assert caplog.messages == [r"class \x1b]0;owned\x07car\x1b[2J\udc80", "a table\n| a", "\x1b[36m"]
