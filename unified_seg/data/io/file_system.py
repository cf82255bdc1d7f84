"""Listing the files of folders, writing files whole or not at all, and paths that stay inside their folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from unified_seg.data.problems import RecordError


def list_files(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, sorted in each sub-folder; links to folders are followed, each folder once."""
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
    """Yield a temporary path, .<name>.tmp, to write to; at the end it is renamed to `path`, after an error removed.

    Until then a reader finds the older file. The next run overwrites the temporary file of an interrupted one.

    Args:
        path: its folder is created if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def resolve_below(root: Path, name: str) -> Path:
    """Return the path of a file below a folder.

    Args:
        root: the folder.
        name: relative to the folder, or absolute.

    Raises:
        RecordError: a name that leads out of the folder, also through links, or that no file can have.
    """
    try:
        path = root / os.path.normpath(name)
        if Path(name).is_absolute():
            path = root / path.resolve().relative_to(_resolve_folder(root))
        # Resolving is slow, and a data set's files are in few folders.
        parent = _resolve_folder(path.parent)
        target = path.resolve() if path.is_symlink() else parent / path.name
        inside = "\0" not in name and path != root and target.is_relative_to(_resolve_folder(root))
    except ValueError as error:
        raise RecordError(f"file_name {name!r} leads out of {root} or names no file: {error}", kind="path") from None
    if not inside:
        raise RecordError(f"file_name {name!r} leads out of {root} or names no file", kind="path")
    return path


@lru_cache(maxsize=4096)
def _resolve_folder(folder: Path) -> Path:
    return folder.resolve()
