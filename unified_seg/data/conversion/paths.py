"""Which files a conversion reads and writes."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from unified_seg.data.io.file_system import list_files
from unified_seg.data.problems import DataError, MissingFileError


def check_apart(outputs: Sequence[Path], inputs: Iterable[Path | None]) -> None:
    """Check that what is written is neither an input, nor inside one, nor around one; links are followed.

    Args:
        outputs: files and folders to write.
        inputs: files and folders to read; None: not given.

    Raises:
        DataError: naming both.
    """
    for read in (path for path in inputs if path is not None):
        for written in outputs:
            one, other = written.resolve(), read.resolve()
            if one == other or one in other.parents or other in one.parents:
                raise DataError(f"{written}: nothing is written into the input {read}; choose another --output")


def files_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files with one of these suffixes (lower case here, any case there) below a folder, sorted.

    Raises:
        DataError: there is no such folder, or none of these files.
    """
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: there is no such folder")
    files = sorted(path for path in list_files(folder) if path.suffix.lower() in suffixes)
    if not files:
        raise DataError(f"{folder}: no {' or '.join(suffixes)} file in it")
    return files
