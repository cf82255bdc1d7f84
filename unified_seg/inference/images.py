"""The input images and the output folder of tools that predict."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import torch
from detectron2.config import CfgNode
from tqdm import tqdm

from unified_seg.data.datasets.alignment import load_for_model
from unified_seg.data.io.file_system import is_data_name, list_files
from unified_seg.data.io.image_files import IMAGE_SUFFIXES
from unified_seg.data.problems import DataError, UnreadableError, WriteError
from unified_seg.errors import UserError
from unified_seg_files import escape_unprintable, open_regular


def find_records(inputs: Sequence[str] | None, dataset: str | None, cfg: CfgNode) -> list[dict[str, Any]]:
    """Return the records that --input or --dataset names; one of the two is given.

    Args:
        inputs: see `find_images`.
        dataset: registered in Detectron2's catalog.
        cfg: the resolved config of the model.

    Returns:
        The records of the data set, with the semantic ids and thing ids of the model; for files, records with their
        `file_name` alone.

    Raises:
        ConfigError: the data set has other classes than the model.
        DataError: as `find_images` does, or a data set without records.
    """
    if dataset is None:
        return [{"file_name": str(path)} for path in find_images(inputs or ())]
    records, _ = load_for_model(dataset, cfg)
    if not records:
        raise DataError(f"--dataset {dataset}: it has no records")
    return records


def find_roots(inputs: Sequence[str]) -> list[Path]:
    """Return the folders in which --input looks for images: of folders and patterns, not of single files and lists."""
    paths = [Path(text).expanduser() for text in inputs]
    return [find_fixed_folder(path) for path in paths if not path.is_file()]


def leave_out_output(records: list[dict[str, Any]], roots: Sequence[Path], output: Path) -> list[dict[str, Any]]:
    """Return the records without the pictures of an earlier run, in an output folder inside of an input folder.

    Args:
        records: with `file_name`.
        roots: of `find_roots`.
        output: the folder of --output.

    Raises:
        UserError: no record is left.
    """
    output = output.absolute()
    if not any(output.is_relative_to(root.absolute()) and output != root.absolute() for root in roots):
        return records
    left = [record for record in records if not Path(record["file_name"]).absolute().is_relative_to(output)]
    if not left:
        raise UserError(f"--input: all images are in {output}, the folder of --output")
    return left


def find_images(inputs: Sequence[str]) -> list[Path]:
    """Return the image files that files, folders with their sub-folders, patterns and lists name, each once, in order.

    In folders and trees, and of patterns without a suffix, only files with a suffix of an image count, and no hidden
    files and files of systems.

    Raises:
        DataError: an input without images.
    """
    return list(dict.fromkeys(file for text in inputs for file in iterate_images(text)))


def iterate_images(text: str) -> Iterator[Path]:
    """Yield the image files that a file, a folder, a pattern or a list of paths (.txt) names; see `find_images`.

    Relative paths in a list start at the folder of the list.

    Raises:
        DataError: no image, or a list that is not text.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        matches = _keep_images(list_files(path))
    elif path.is_file():  # before patterns: a name may hold brackets
        matches = _read_list(path) if path.suffix == ".txt" else iter([path])
    else:
        matches = _expand_pattern(path)
    first = next(matches, None)
    if first is None:
        raise DataError(f"--input {text}: no image found (in folders: {', '.join(IMAGE_SUFFIXES)})")
    yield first
    yield from matches


def _expand_pattern(path: Path) -> Iterator[Path]:
    root = find_fixed_folder(path)
    pattern = Path(glob.escape(str(root)), path.relative_to(root))  # names of folders may hold brackets too
    matches = (Path(p) for p in sorted(glob.glob(str(pattern), recursive=True)))
    matches = (p for p in matches if p.is_file() and is_data_name(p.relative_to(root)))
    # Trees and folders hold other files too.
    return _keep_images(matches) if "**" in path.parts or not path.suffix else matches


def _read_list(path: Path) -> Iterator[Path]:
    with open_regular(path) as file:
        for number, line in enumerate(file, start=1):
            if b"\0" in line:
                raise DataError(f"--input {path}: line {number} has a NUL byte: write one path a line, as UTF-8 text")
            if name := os.fsdecode(line).strip():
                yield path.parent / Path(name).expanduser()


def find_fixed_folder(path: Path) -> Path:
    """Return the folder of an input: itself, or that of a file, or the part of a pattern that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _keep_images(files: Iterable[Path]) -> Iterator[Path]:
    return (file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)


# What can go wrong with one image while others are fine.
PER_IMAGE = (DataError, OSError, MemoryError, UnicodeError, cv2.error, torch.OutOfMemoryError)


class LeftOutFiles:
    """The files that a tool could not read, or whose result it could not write.

    It goes on without them, and ends with an error that names them.

    Args:
        limit: how many are left out before `collect` raises; None: any number.

    Attributes:
        errors: one for each file, in order.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.errors: list[DataError] = []
        self.limit = limit

    @contextmanager
    def collect(self, name: object = "") -> Iterator[None]:
        """Print and remember an error that concerns one file alone, in place of ending with it.

        Args:
            name: of the file, for errors without one.

        Raises:
            UnreadableError: more than the limit; with all of them.
        """
        try:
            yield
        except PER_IMAGE as error:
            if isinstance(error, WriteError) and error.concerns_all:
                raise
            found = error if isinstance(error, DataError) else DataError(f"{name}: {type(error).__name__}: {error}")
            self.errors.append(found)
            tqdm.write(escape_unprintable(f"left out: {found}"), file=sys.stderr)
            if self.limit is not None and len(self.errors) > self.limit:
                raise UnreadableError(f"more than {self.limit} images can't be used:{self._list_causes()}") from None

    def raise_any(self, total: int) -> None:
        """Raise DataError with all files, of a number of files in total, if there is one."""
        if self.errors and total == 1:
            raise self.errors[0]
        if self.errors:
            raise UnreadableError(f"{len(self.errors)} of {total} images were left out:{self._list_causes()}")

    def _list_causes(self) -> str:
        return "".join(f"\n  {escape_unprintable(error)}" for error in self.errors)


def make_writable(folder: Path) -> None:
    """Create the folder that --output names, if necessary, and check that files can be written to it.

    Raises:
        DataError: it can't be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--output: the folder {folder} can't be created: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise DataError(f"--output: the folder {folder} can't be written to")
