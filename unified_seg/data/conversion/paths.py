"""The files that a conversion reads and writes."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from unified_seg.data.io.file_system import list_files
from unified_seg.data.problems import DataError, MissingFileError


def check_apart(outputs: Sequence[Path], inputs: Iterable[Path | None]) -> None:
    """Check that no output is an input, or below or above one; links are followed.

    Args:
        outputs: files and folders to write.
        inputs: files and folders to read; None: not given.

    Raises:
        DataError: with both paths.
    """
    for read in (path for path in inputs if path is not None):
        for written in outputs:
            one, other = written.resolve(), read.resolve()
            if one == other or one in other.parents or other in one.parents:
                raise DataError(
                    f"{written}: the output must not overlap with the input {read}; choose another --output"
                )


def find_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files below a folder with one of these suffixes (lower case, but any case in names), sorted.

    Raises:
        DataError: no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: there is no such folder")
    files = sorted(path for path in list_files(folder) if path.suffix.lower() in suffixes)
    if not files:
        raise DataError(f"{folder}: no {' or '.join(suffixes)} file in it")
    return files
