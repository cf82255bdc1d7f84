"""Data sets that are a folder of images and a folder of label PNGs: semantic ground truth alone."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from unified_seg.data.io.file_system import list_files
from unified_seg.data.io.image_files import IMAGE_SUFFIXES, read_image_size
from unified_seg.data.problems import DataError, MissingFileError, Problem, Report, UnreadableError, raise_error
from unified_seg.structures.class_table import IGNORE_LABEL

Record = dict[str, Any]


def semantic_metadata(names: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """Metadata in Detectron2's terms: every class is stuff, and the label files hold its index.

    Args:
        names: K class names, by semantic id.
        colors: their K RGB colors, 0 to 255.
    """
    return {
        "stuff_classes": list(names),
        "stuff_colors": list(colors),
        "ignore_label": IGNORE_LABEL,
        "evaluator_type": "unified_seg",
    }


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
    """A record for each image that has a label: file_name, sem_seg_file_name, image_id, height, width.

    Of the images only the headers are read.

    Args:
        image_dir: holds <name>.jpg (or another of IMAGE_SUFFIXES); a name may have sub-folders.
        label_dir: holds <name>.png, whose pixels are class ids and 255 where there is none.
        names: the images of the split, in order; None: all of `image_dir`, sorted.
        how_to_get: ends the errors about what is not there.
        image_ending: what follows the name of an image; "" = any of IMAGE_SUFFIXES.
        label_ending: what follows the name of a label.
        report: gets images without a label and those that are, as their label is, unreadable; they are left out then.

    Raises:
        DataError: a folder that is not there, an image of the split that is not, a name that two images have; and, by
            the default report, an image without a label, or unreadable with it.
    """
    images = _files_by_name(image_dir, (image_ending,) if image_ending else IMAGE_SUFFIXES, how_to_get)
    labels = _files_by_name(label_dir, (label_ending,), how_to_get)
    if names is None:
        _report_left_out(sorted(labels.keys() - images.keys()), label_dir, image_dir)
        names = sorted(images)
    usable = []
    for name in names:
        if name not in images:
            raise DataError(f"{image_dir / name}: no image of that name ({', '.join(IMAGE_SUFFIXES)}); {how_to_get}")
        if name not in labels:
            cause = f"its label {label_dir / name}{label_ending} is not there; {how_to_get}"
            report(Problem("missing-truth", str(images[name]), cause))
        else:
            usable.append(name)
    # On a remote disk, opening tens of thousands of files is waiting.
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(partial(_size, report=report), *zip(*((images[n], labels[n]) for n in usable))))
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


def _size(image: Path, label: Path, report: Report) -> tuple[int, int] | None:
    """That of the label, where the image is damaged: whether training goes on without it is decided there."""
    try:
        return read_image_size(image)
    except UnreadableError as error:
        try:
            return read_image_size(label)
        except DataError:
            report(Problem.from_error(error, str(image)))
            return None


def read_names(file: Path, how_to_get: str) -> list[str]:
    """The image names of a split's list, one a line.

    Raises:
        DataError: there is no such file, or it is none of image names.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{file}: there is no such file; {how_to_get}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not a list of image names: {error}") from None
    names = []
    for number, line in enumerate(lines, start=1):
        if name := line.strip():
            if not name.replace("_", "").isalnum():
                raise DataError(f"{file}, line {number}: {name!r} is not the name of an image, such as 2007_000033")
            names.append(name)
    if not names:
        raise DataError(f"{file}: it names no image")
    return names


def _files_by_name(folder: Path, endings: tuple[str, ...], how_to_get: str) -> dict[str, Path]:
    """The files with one of these endings, by their path in the folder without it."""
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
            raise DataError(f"{folder}: both {file.name} and {files[name].name} are images of one name")
        files[name] = file
    if not files:
        raise DataError(f"{folder}: no {' or '.join(endings)} file in it; {how_to_get}")
    return files


def _report_left_out(names: list[str], label_dir: Path, image_dir: Path) -> None:
    if names:
        logging.getLogger(__name__).warning(
            f"{label_dir}: {len(names)} labels have no image in {image_dir}, {names[0]} first; they are left out"
        )
