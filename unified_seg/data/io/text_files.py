"""JSON, YAML and text files: read with one clear error, JSON written whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from unified_seg.data.io.file_system import write_atomically
from unified_seg.data.problems import DataError, MissingFileError


def read_text(path: Path, format: str = "text") -> str:
    """Return the content of a UTF-8 file, without the byte order mark that it may start with.

    Args:
        path: the file.
        format: what it should be, for errors.

    Raises:
        DataError: absent or unreadable; it names the file.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MissingFileError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as {format}: {error}") from None


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: absent, unreadable, or not JSON; it names the file.
    """
    try:
        return json.loads(read_text(path, "JSON"))
    except (json.JSONDecodeError, RecursionError) as error:
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
    with write_atomically(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


class _PlainLoader(yaml.SafeLoader):
    """A loader without aliases: a few lines of them can mean more than memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file of plain values; JSON is YAML too.

    Raises:
        DataError: absent, unreadable, or not plain YAML; it names the file.
    """
    try:
        return yaml.load(read_text(path, "plain YAML"), Loader=_PlainLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path}: not readable as plain YAML: {error}") from None
