"""Listing the files of folders, and paths that stay inside their folder."""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from unified_seg.data.problems import DataError, RecordError

# Files and folders that systems and tools put beside data, in lower case: Windows, macOS, network drives, Python. Many
# others are hidden, with a dot: ._a.png, .DS_Store, .ipynb_checkpoints.
SYSTEM_NAMES = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "icon\r", "__macosx"),
        *("@eadir", "@recycle", "#recycle", "#snapshot", "lost+found", "__pycache__"),
    }
)


def is_data_name(name: str | PurePath) -> bool:
    """Return whether no part of a relative path is hidden, or of a system or tool."""
    parts = PurePath(name).parts
    return not any(part.startswith((".", "~$")) or part.lower() in SYSTEM_NAMES for part in parts)


def list_files(folder: Path) -> Iterator[Path]:
    """Yield the data files below a folder, sorted in each sub-folder.

    Files and folders that are no data are left out, see `is_data_name`. Links to folders are followed, unless they lead
    back to a folder on the way to them.

    Raises:
        DataError: a folder that can't be listed.
    """
    yield from _walk(folder, frozenset())


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    if not folder.is_dir() or (real := os.path.realpath(folder)) in above:
        return
    try:
        with os.scandir(folder) as content:
            entries = sorted((entry.name, entry.is_dir()) for entry in content if is_data_name(entry.name))
    except OSError as error:
        raise DataError(f"{folder}: its files can't be listed: {error.strerror}") from None
    yield from (folder / name for name, is_folder in entries if not is_folder)
    for name, is_folder in entries:
        if is_folder:
            yield from _walk(folder / name, above | {real})


def glob_files(folder: Path, pattern: str) -> list[Path]:
    """Return the data files below a folder that a pattern such as "*/*.png" names, sorted; see `is_data_name`."""
    return sorted(path for path in folder.glob(pattern) if is_data_name(path.relative_to(folder)))


def normalize_name(name: str) -> str:
    """Return the name of a file in an annotation file, with slashes (Windows writes backslashes), without "." and "..".

    A name that climbs out of its folder keeps its ".." at the start.
    """
    return os.path.normpath(name.replace("\\", "/"))


def resolve_below(root: Path, name: str) -> Path:
    """Return the path of a file that an annotation file names, below a folder.

    The rule is about the name alone: it must not climb out of the folder. Links on the disk are the user's own and
    are followed wherever they lead.

    Args:
        root: the folder.
        name: relative to the folder, or absolute and below it; with slashes or backslashes.

    Raises:
        RecordError: a name that leads out of the folder, or that no file can have.
    """
    relative = normalize_name(name)
    if relative.startswith("/"):
        for base in (os.path.abspath(root), os.path.realpath(root)):
            relative = relative.removeprefix(base.rstrip("/") + "/")
    is_outside = relative.startswith("/") or relative.split("/")[0] == ".." or re.match("[A-Za-z]:", relative)
    if is_outside or relative == "." or "\0" in name:
        raise RecordError(f"file_name {name!r} leads out of {root} or names no file", kind="path")
    return root / relative


def resolve_output_below(root: Path, name: str) -> Path:
    """Return the path of a file to write below a folder; unlike a reader, a writer does not follow links out of it.

    Raises:
        RecordError: as `resolve_below`, or the path leads out of the folder through links.
    """
    path = resolve_below(root, name)
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise RecordError(f"file_name {name!r} leads out of {root} through a link", kind="path")
    return path
