"""JSON, YAML and text files: read with one clear error, JSON written whole or not at all."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unified_seg.data.problems import DataError, MissingFileError
from unified_seg_files import read_bytes, write_atomically, write_text
from unified_seg_files.yaml_text import YamlError, parse_yaml

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


def write_json(path: Path, content: Any, indent: int | None = 1, *, durable: bool = True) -> None:
    """Write a file in one step: after a crash, or on a full disk, the older file is still there.

    Args:
        path: its folder is created if need be.
        content: what JSON can hold.
        indent: None for one long line, which is written several times as fast: for lists as long as the data set.
        durable: see `write_atomically`; False for files of single images.

    Raises:
        DataError: NaN or infinity, which JSON does not have; it names the file.
    """
    try:
        text = json.dumps(content, indent=indent, allow_nan=False)
    except ValueError as error:
        raise DataError(f"{path}: can't be written: {error}") from None
    write_text(path, text + "\n", durable=durable)


def write_json_stream(path: Path, content: Iterator[Any] | Mapping[str, Any]) -> None:
    """Write a file with one entry of a list after another, so that its lists need not be in memory.

    Args:
        path: its folder is created if need be.
        content: an iterator of the entries of a list, or keys with iterators or with what JSON can hold.

    Raises:
        DataError: as `write_json`.
    """
    try:
        with write_atomically(path, durable=True) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(_iterate_json(content))
            file.write("\n")
    except ValueError as error:
        raise DataError(f"{path}: can't be written: {error}") from None


def _iterate_json(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        for index, (key, value) in enumerate(content.items()):
            yield f"{', ' if index else '{'}{json.dumps(key)}: "
            yield from _iterate_json(value) if isinstance(value, Iterator) else [json.dumps(value, allow_nan=False)]
        yield "}"
    else:
        yield "["
        for index, entry in enumerate(content):
            yield f"{', ' if index else ''}{json.dumps(entry, allow_nan=False)}"
        yield "]"


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file of plain values; JSON is YAML too.

    Raises:
        DataError: absent, unreadable, or not plain YAML; it names the file.
    """
    try:
        return parse_yaml(read_text(path, "plain YAML", MAX_YAML_BYTES))
    except YamlError as error:
        raise DataError(f"{path}: not readable as plain YAML: {error}") from None
