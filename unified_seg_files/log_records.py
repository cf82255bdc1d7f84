"""Log records without control characters: names that others chose are in the messages of every library."""

import logging
import re
from typing import Any

from unified_seg_files.plain_text import escape_unprintable

LOGGERS = ("detectron2", "fvcore", "unified_seg")
# What Detectron2 colors its messages with.
COLOR = re.compile(r"\x1b\[[\d;]*m")


def escape_log_records() -> None:
    """Escape control characters in all that this process logs from now on, without the lines of a table."""
    create = logging.getLogRecordFactory()
    if getattr(create, "escapes", False):
        return

    def create_escaped(name: str, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = create(name, *args, **kwargs)
        if name.partition(".")[0] in LOGGERS:
            message = record.getMessage()
            if not message.isprintable():
                record.msg, record.args = escape_unprintable(COLOR.sub("", message), keep="\n\t"), ()
        return record

    create_escaped.escapes = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(create_escaped)
