"""JSON files: read with one clear error, written whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

from unified_seg.data.io.reading import DataError, MissingFileError
from unified_seg.data.io.writing import replacing


def read_json(path: Path) -> Any:
    """The content of a file that others wrote.

    Raises:
        DataError: absent, unreadable, or not JSON; it names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise MissingFileError(f"{path}: there is no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from None


def write_json(path: Path, content: Any, indent: int | None = 1) -> None:
    """Write a file in one step: a reader, or a crash or a full disk meanwhile, finds the older one or the new one.

    Args:
        path: its folder is made if need be.
        content: what JSON can hold.
        indent: None for one long line, which is written several times as fast: for lists as long as the data set.

    Raises:
        DataError: NaN or infinity, which JSON does not have; it names the file.
    """
    try:
        text = json.dumps(content, indent=indent, allow_nan=False)
    except ValueError as error:
        raise DataError(f"{path}: can't be written: {error}") from None
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
