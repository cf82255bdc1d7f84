"""Unpacking of data set archives: regular files only, each written completely, and none outside the folder."""

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from tqdm import tqdm

from unified_seg.data.io.file_system import is_data_name
from unified_seg.data.problems import DataError
from unified_seg_files import write_atomically

# Errors of the readers for damaged archives; zipfile raises RuntimeError for an encrypted one.
BROKEN = (
    OSError, EOFError, NotImplementedError, RuntimeError,
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
BLOCK = 1 << 20


class _Member(NamedTuple):
    """A file in an archive, and its position there in bytes."""

    name: str
    size: int
    position: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, root: Path, *, inside: str = "", only: tuple[str, ...] = ()) -> int:
    """Unpack the missing files of an archive, with a progress bar.

    Files with the name and size of a member are kept, so that an interrupted unpacking continues.

    Args:
        archive: .zip, or .tar with any compression; nothing is done if the file is missing.
        root: the folder to unpack to.
        inside: the folder in the archive whose content goes to `root`; other members are skipped, as are files
            that are no data, see `is_data_name`.
        only: files and folders in `inside` to unpack; () for all.

    Returns:
        The number of files written.

    Raises:
        DataError: the archive is damaged, or a member is a link or a device or lies outside the folder.
    """
    if not archive.is_file():
        return 0
    written = 0
    members = _zip_members if archive.suffix == ".zip" else _tar_members
    total = archive.stat().st_size
    with tqdm(total=total, desc=archive.name, unit="B", unit_scale=True, disable=None) as bar:
        try:
            for member in members(archive):
                path = _checked_path(member.name, archive)
                target = _target(path, root, inside, only)
                if target is not None and not (target.is_file() and target.stat().st_size == member.size):
                    with member.open() as source, write_atomically(target) as temporary, temporary.open("wb") as file:
                        shutil.copyfileobj(source, file, BLOCK)
                    written += 1
                bar.update(member.position - bar.n)
        except BROKEN as error:
            # tarfile lists all compressions that it tried, one on each line.
            cause = str(error).partition(":\n")[0]
            # An error with a number is one of the disk, such as a full one.
            advice = "" if isinstance(error, OSError) and error.errno else "; download it again if it is damaged"
            raise DataError(f"{archive}: can't be unpacked: {cause}{advice}") from None
    return written


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as content:
        for info in content.infolist():
            if not info.is_dir():
                yield _Member(info.filename, info.file_size, info.header_offset, partial(content.open, info))


def _tar_members(archive: Path) -> Iterator[_Member]:
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as content:
        for info in content:
            if info.isdir():
                continue
            if not info.isreg():
                raise DataError(f"{archive}: member {info.name!r} is a link or a device, expected regular files")
            read = partial(content.extractfile, info)
            yield _Member(info.name, info.size, raw.tell(), read)  # type: ignore[arg-type]  # not None of a file


def _checked_path(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise DataError(f"{archive}: member {name!r} is outside the folder of the archive; unpacking stopped")
    return path


def _target(path: PurePosixPath, root: Path, inside: str, only: tuple[str, ...]) -> Path | None:
    """Return the file for a member, None if it is skipped."""
    if not path.is_relative_to(inside) or not is_data_name(path):
        return None
    path = path.relative_to(inside)
    if only and not any(path.is_relative_to(part) for part in only):
        return None
    return root / path
