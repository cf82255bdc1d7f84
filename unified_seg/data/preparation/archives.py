"""Unpacking the archives that data sets come in: plain files, whole, and inside the folder."""

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

from unified_seg.data.io.file_system import write_atomically
from unified_seg.data.problems import DataError

# What the readers of archives raise about damaged ones; RuntimeError is zipfile's of an encrypted one.
BROKEN = (
    OSError, EOFError, NotImplementedError, RuntimeError,
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
BLOCK = 1 << 20


class _Member(NamedTuple):
    """A file in an archive; `position`: how far in the archive it is, in bytes."""

    name: str
    size: int
    position: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, root: Path, *, inside: str = "", only: tuple[str, ...] = ()) -> int:
    """Unpack what of an archive is not there yet, with a progress bar.

    A file of a member's name and size is left as it is, so that unpacking goes on where it was interrupted.

    Args:
        archive: .zip, or .tar in any compression; if there is none, nothing is done.
        root: the folder to unpack to.
        inside: the folder in the archive whose content goes to `root`; the rest is left out.
        only: files and folders inside `inside`; the rest is left out. (): everything.

    Returns:
        How many files were written.

    Raises:
        DataError: a damaged archive, or a member that is a link or device, or whose name leads out of the folder.
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
            # tarfile tells of every compression that it tried, a line each.
            cause = str(error).partition(":\n")[0]
            raise DataError(f"{archive}: can't be unpacked: {cause}; if it is damaged, download it again") from None
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
                raise DataError(f"{archive}: its member {info.name!r} is a link or device, which is not unpacked")
            read = partial(content.extractfile, info)
            yield _Member(info.name, info.size, raw.tell(), read)  # type: ignore[arg-type]  # not None of a file


def _checked_path(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise DataError(f"{archive}: its member {name!r} leads out of the folder, nothing more is unpacked")
    return path


def _target(path: PurePosixPath, root: Path, inside: str, only: tuple[str, ...]) -> Path | None:
    """Where a member goes; None if it is left out."""
    if not path.is_relative_to(inside):
        return None
    path = path.relative_to(inside)
    if only and not any(path.is_relative_to(part) for part in only):
        return None
    return root / path
