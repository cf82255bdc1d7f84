"""Folders and files: listed, written whole or not at all, and kept inside their folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from unified_seg.data.problems import RecordError


def list_files(folder: Path) -> Iterator[Path]:
    """All files of a folder and its sub-folders, sorted in each, through links to folders too, each folder once."""
    seen = set()
    for path, subfolders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(path)) in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders.sort()
        yield from (Path(path) / name for name in sorted(names))


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Gives a name, .<name>.tmp, to write to; the file is renamed to `path` in the end, or removed after an error.

    A reader meanwhile finds the older file. What an interrupted run left under such a name is overwritten by the next.

    Args:
        path: its folder is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def resolve_below(root: Path, name: str) -> Path:
    """The file of this name below a folder.

    Raises:
        RecordError: a name that leads out of it, through links too, or that no file can have.
    """
    try:
        path = root / os.path.normpath(name)
        if Path(name).is_absolute():
            path = root / path.resolve().relative_to(_resolved(root))
        # Resolving is slow, and a data set's files are in few folders.
        parent = _resolved(path.parent)
        target = path.resolve() if path.is_symlink() else parent / path.name
        inside = "\0" not in name and path != root and target.is_relative_to(_resolved(root))
    except ValueError as error:
        raise RecordError(f"file_name {name!r} leads out of {root} or names no file: {error}", kind="path") from None
    if not inside:
        raise RecordError(f"file_name {name!r} leads out of {root} or names no file", kind="path")
    return path


@lru_cache(maxsize=4096)
def _resolved(folder: Path) -> Path:
    return folder.resolve()
