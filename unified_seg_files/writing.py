"""Writing of files that appear whole or not at all; the one writer of this repository.

A temporary file has a name that nobody can guess, is created by this process or not at all, and gets its final name by
a rename. So two processes never share one, and a link that somebody puts at the final name is replaced, not followed.
"""

import csv
import io
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Of temporary files: .<name>.<16 hexadecimal digits>.tmp, and perhaps the suffix of the file.
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp(\.\w+)?", re.DOTALL)
# A temporary file that did not change for so long is that of a process that was killed.
SECONDS_TO_LEFTOVER = 3600
# The longest name of a file on most file systems, in bytes.
MAX_NAME = 255


@contextmanager
def write_atomically(path: str | Path, *, durable: bool = False, suffix: str = "") -> Iterator[Path]:
    """Yield the path of a new, empty temporary file to write to; at the end it is renamed to `path`.

    Until then a reader finds the older file. After an error the temporary file is removed; see `remove_leftovers` for
    those of killed processes.

    Args:
        path: its folder is created if need be. A link is replaced.
        durable: wait until the file and its name are on the disk, so that a power failure can't take them back.
        suffix: of the temporary file, for libraries that choose a format by it.

    Raises:
        OSError: a full disk, a read-only folder ...
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _create_temporary(path, suffix)
    try:
        yield temporary
        if durable:
            _wait_for_disk(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        _wait_for_disk(path.parent)


def write_bytes(path: str | Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file at once, see `write_atomically`."""
    with write_atomically(path, durable=durable) as temporary, temporary.open("wb") as file:
        file.write(data)


def write_text(path: str | Path, text: str, *, durable: bool = False) -> None:
    """Write a UTF-8 file at once, see `write_atomically`; line ends stay as they are."""
    write_bytes(path, text.encode("utf-8"), durable=durable)


def write_rows(path: str | Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV at once, see `write_atomically`; names of others go through `escape_cell` first."""
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows(rows)
    write_text(path, lines.getvalue())


def remove_leftovers(folder: str | Path, seconds: float = SECONDS_TO_LEFTOVER) -> None:
    """Remove the temporary files that killed processes left in a folder more than an hour ago, or so many seconds."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not TEMPORARY.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime >= seconds:
                    os.unlink(entry.path)


def delete_files(folder: str | Path, suffixes: Collection[str]) -> None:
    """Delete the files with one of these suffixes in a folder; links to files are deleted, not what they lead to.

    Raises:
        OSError: the folder itself is a link, so that its files are those of another folder; or a file stays.
    """
    folder = Path(folder)
    if folder.is_symlink():
        raise OSError(f"{folder} is a link to {os.path.realpath(folder)}, in which nothing is deleted")
    for path in folder.iterdir():
        if path.suffix in suffixes and not (path.is_dir() and not path.is_symlink()):
            path.unlink()


def delete_tree(folder: str | Path) -> None:
    """Delete a folder and what is in it; a link is deleted itself, wherever it leads. No folder is no error."""
    folder = Path(folder)
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)  # never follows links below


def _create_temporary(path: Path, suffix: str) -> Path:
    end = f".{secrets.token_hex(8)}.tmp{suffix}"
    name = os.fsencode(path.name)[: MAX_NAME - len(end) - 1]
    temporary = path.with_name(f".{os.fsdecode(name)}{end}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    os.close(os.open(temporary, flags, 0o666))  # as `open` would: the user's umask decides who may read it
    return temporary


def _wait_for_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
