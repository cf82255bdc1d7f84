"""JSON, YAML and text files: read with one clear error, JSON written whole or not at all."""

import json
from pathlib import Path
from typing import Any

from unified_seg.data.problems import DataError, MissingFileError
from unified_seg_files import YamlError, parse_yaml, read_bytes, write_text

# Parsing takes a minute.
MAX_YAML_BYTES = 64_000_000


def read_text(path: Path, format: str = "text", max_bytes: int | None = None) -> str:
    """Return the content of a UTF-8 file, without the byte order mark that it may start with.

    Args:
        path: the file.
        format: what it should be, for errors.
        max_bytes: the largest size; None: any.

    Raises:
        DataError: absent, unreadable, larger, or no regular file; it names the file.
    """
    try:
        return read_bytes(path, max_bytes).decode("utf-8-sig")
    except FileNotFoundError:
        raise MissingFileError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: not readable as {format}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path}: not readable as {format}: {error}") from None


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: absent, unreadable, or not JSON; it names the file.
    """
    try:
        return json.loads(read_text(path, "JSON"))
    except (ValueError, RecursionError) as error:  # ValueError also for numbers of thousands of digits
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not readable as JSON: {error}") from None


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file that holds an object.

    Raises:
        DataError: as `read_json`, or another content.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected an object with lists of records, got {type(content).__name__}")
    return content


def write_json(path: Path, content: Any, indent: int | None = 1) -> None:
    """Write a file in one step: after a crash, or on a full disk, the older file is still there.

    Args:
        path: its folder is created if need be.
        content: what JSON can hold.
        indent: None for one long line, which is written several times as fast: for lists as long as the data set.

    Raises:
        DataError: NaN or infinity, which JSON does not have; it names the file.
    """
    try:
        text = json.dumps(content, indent=indent, allow_nan=False)
    except ValueError as error:
        raise DataError(f"{path}: can't be written: {error}") from None
    write_text(path, text + "\n", durable=True)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file of plain values; JSON is YAML too.

    Raises:
        DataError: absent, unreadable, or not plain YAML; it names the file.
    """
    try:
        return parse_yaml(read_text(path, "plain YAML", MAX_YAML_BYTES))
    except YamlError as error:
        raise DataError(f"{path}: not readable as plain YAML: {error}") from None
