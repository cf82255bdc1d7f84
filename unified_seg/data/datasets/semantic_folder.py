"""Data sets of a folder of images and a folder of label PNGs, with semantic ground truth only."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from unified_seg.data.io.file_system import list_files
from unified_seg.data.io.image_files import IMAGE_SUFFIXES, read_image_size
from unified_seg.data.io.text_files import read_text
from unified_seg.data.problems import (
    DataError,
    FileError,
    MissingFileError,
    Problem,
    Report,
    UnreadableError,
    raise_error,
)
from unified_seg.structures.class_table import ClassTable, SegmentClass

Record = dict[str, Any]


def build_semantic_table(
    names: Sequence[str], colors: Sequence[tuple[int, int, int]], category_of: Mapping[str, str] | None = None
) -> ClassTable:
    """Return classes that are all stuff, with their indices as ids in the label files.

    Args:
        names: K class names, by semantic id.
        colors: their K RGB colors, 0 to 255.
        category_of: the category of each name; a class that is not in it is its own category.
    """
    categories = category_of or {}
    return ClassTable(
        SegmentClass(name, index, None, index, categories.get(name, name), color)
        for index, (name, color) in enumerate(zip(names, colors))
    )


def load_semantic_folder(
    image_dir: Path,
    label_dir: Path,
    names: Sequence[str] | None = None,
    *,
    how_to_get: str,
    image_ending: str = "",
    label_ending: str = ".png",
    report: Report = raise_error,
) -> list[Record]:
    """Return a record of each image with a label: file_name, sem_seg_file_name, image_id, height, width.

    Only the headers of the images are read.

    Args:
        image_dir: contains <name>.jpg (or another of IMAGE_SUFFIXES); a name may have sub-folders.
        label_dir: contains <name>.png, whose pixels are class ids, and 255 for void.
        names: the images of the split, in order; None: all of `image_dir`, sorted.
        how_to_get: how to get missing files, for errors.
        image_ending: the end of the file names of images; "" = any of IMAGE_SUFFIXES.
        label_ending: the end of the file names of labels.
        report: gets images without a label, and those that are unreadable as is their label; they are left out.

    Raises:
        DataError: a missing folder, a missing image of the split, two images with one name; and, by the default
            report, an image without a label, or unreadable as is its label.
    """
    images = _list_by_name(image_dir, (image_ending,) if image_ending else IMAGE_SUFFIXES, how_to_get)
    labels = _list_by_name(label_dir, (label_ending,), how_to_get)
    if names is None:
        _warn_of_unused_labels(sorted(labels.keys() - images.keys()), label_dir, image_dir)
        names = sorted(images)
    usable = []
    for name in names:
        if name not in images:
            raise DataError(f"{image_dir / name}: no image of that name ({', '.join(IMAGE_SUFFIXES)}); {how_to_get}")
        if name not in labels:
            cause = f"its label {label_dir / name}{label_ending} does not exist; {how_to_get}"
            report(Problem("missing-ground-truth", str(images[name]), cause))
        else:
            usable.append(name)
    # On a remote disk, most of the time of opening tens of thousands of files is waiting.
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(partial(_read_size, report=report), *zip(*((images[n], labels[n]) for n in usable))))
    return [
        {
            "file_name": str(images[name]),
            "sem_seg_file_name": str(labels[name]),
            "image_id": name,
            "height": size[0],
            "width": size[1],
        }
        for name, size in zip(usable, sizes)
        if size is not None
    ]


def load_image_folder(
    folder: Path, how_to_get: str, *, image_ending: str = "", report: Report = raise_error
) -> list[Record]:
    """Return a record of each image, without ground truth: file_name, image_id, height, width.

    Args:
        folder: of the images; an image id is the path in it without its ending.
        how_to_get: how to get a missing folder, for errors.
        image_ending: the end of the file names of images; "" = any of IMAGE_SUFFIXES.
        report: gets unreadable images, which are left out.

    Raises:
        DataError: a missing folder, one without images, two images with one name; and, by the default report, an
            unreadable image.
    """
    images = _list_by_name(folder, (image_ending,) if image_ending else IMAGE_SUFFIXES, how_to_get)
    names = sorted(images)
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(partial(_read_size, report=report), (images[name] for name in names)))
    return [
        {"file_name": str(images[name]), "image_id": name, "height": size[0], "width": size[1]}
        for name, size in zip(names, sizes)
        if size is not None
    ]


def _read_size(image: Path, label: Path | None = None, *, report: Report) -> tuple[int, int] | None:
    """Return the size of the image or, if it is damaged, of its label; the mapper then skips it or raises."""
    try:
        return read_image_size(image)
    except FileError as error:
        try:
            if label is not None and isinstance(error, UnreadableError):
                return read_image_size(label)
        except DataError:
            pass
        report(Problem.from_error(error, str(image)))
        return None


def read_names(file: Path, how_to_get: str) -> list[str]:
    """Return the image names of a split's list, one a line.

    Raises:
        DataError: no such file, or not a list of image names.
    """
    try:
        lines = read_text(file, "a list of image names").splitlines()
    except MissingFileError as error:
        raise DataError(f"{error}; {how_to_get}") from None
    names = []
    for number, line in enumerate(lines, start=1):
        if name := line.strip():
            if not name.replace("_", "").isalnum():
                raise DataError(f"{file}, line {number}: must be an image name such as 2007_000033, got {name!r}")
            names.append(name)
    if not names:
        raise DataError(f"{file}: it is empty; expected image names")
    return names


def _list_by_name(folder: Path, endings: tuple[str, ...], how_to_get: str) -> dict[str, Path]:
    """Return the files with one of these endings, by their path in the folder without it."""
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: there is no such folder; {how_to_get}")
    files: dict[str, Path] = {}
    for file in list_files(folder):
        path = file.relative_to(folder).as_posix()
        ending = next((ending for ending in endings if path.lower().endswith(ending.lower())), None)
        if ending is None:
            continue
        name = path[: -len(ending)]
        if name in files:
            raise DataError(f"{folder}: {file.name} and {files[name].name} have the same name")
        files[name] = file
    if not files:
        raise DataError(f"{folder}: no {' or '.join(endings)} file in it; {how_to_get}")
    return files


def _warn_of_unused_labels(names: list[str], label_dir: Path, image_dir: Path) -> None:
    if names:
        logging.getLogger(__name__).warning(
            f"{label_dir}: {len(names)} labels have no image in {image_dir}, {names[0]} first; they are left out"
        )
