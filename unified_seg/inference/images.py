"""The input images and the output folder of tools that predict."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog

from unified_seg.data.io.image_files import IMAGE_SUFFIXES
from unified_seg.data.problems import DataError


def find_records(inputs: Sequence[str] | None, dataset: str | None) -> list[dict[str, Any]]:
    """Return the records that --input or --dataset names; one of the two is given.

    Args:
        inputs: see `find_images`.
        dataset: registered in Detectron2's catalog.

    Returns:
        The records of the data set; for files, records with their `file_name` alone.

    Raises:
        DataError: as `find_images` does, or a data set without records.
    """
    if dataset is None:
        return [{"file_name": str(path)} for path in find_images(inputs or ())]
    records = DatasetCatalog.get(dataset)
    if not records:
        raise DataError(f"--dataset {dataset}: it has no records")
    return records


def find_images(inputs: Sequence[str]) -> list[Path]:
    """Return the image files that files, folders and patterns name, each once, in order.

    Raises:
        DataError: an input without images.
    """
    found: list[Path] = []
    for text in inputs:
        path = Path(text).expanduser()
        if path.is_dir():
            matches = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        elif path.is_file():  # before patterns: a name may hold brackets
            matches = [path]
        else:
            matches = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
        if not matches:
            raise DataError(
                f"--input {text}: no image found (in a folder only {', '.join(IMAGE_SUFFIXES)}, without sub-folders)"
            )
        found += matches
    return list(dict.fromkeys(found))


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
