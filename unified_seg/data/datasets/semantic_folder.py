"""Data sets that are a folder of images and a folder of label PNGs: semantic truth alone."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from unified_seg.data.reading import DataError, image_size
from unified_seg.functional.class_table import IGNORE_LABEL

Record = dict[str, Any]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def semantic_metadata(names: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """Metadata in Detectron2's terms: every class is stuff, and the label files hold its index.

    Args:
        names: K class names, by semantic id.
        colors: their K RGB colours, 0 to 255.
    """
    return {
        "stuff_classes": list(names),
        "stuff_colors": list(colors),
        "ignore_label": IGNORE_LABEL,
        "evaluator_type": "unified_seg",
    }


def load_semantic_folder(
    image_dir: Path, label_dir: Path, names: Sequence[str] | None = None, *, how_to_get: str
) -> list[Record]:
    """A record for each image that has a label: file_name, sem_seg_file_name, image_id, height, width.

    Of the images only the headers are read.

    Args:
        image_dir: holds <name>.jpg (or another of IMAGE_SUFFIXES).
        label_dir: holds <name>.png, whose pixels are class ids and 255 where there is none.
        names: the images of the split, in order; None: all of `image_dir`, sorted.
        how_to_get: ends the errors about what is not there.

    Raises:
        DataError: a folder, image or label that is not there, a name that two images have, an unreadable image.
    """
    images = _files_by_name(image_dir, IMAGE_SUFFIXES, how_to_get)
    labels = _files_by_name(label_dir, (".png",), how_to_get)
    if names is None:
        _report_left_out(sorted(labels.keys() - images.keys()), label_dir, image_dir)
        names = sorted(images)
    for name in names:
        if name not in images:
            raise DataError(f"{image_dir / name}: no image of that name ({', '.join(IMAGE_SUFFIXES)}); {how_to_get}")
        if name not in labels:
            raise DataError(f"{images[name]}: its label {label_dir / name}.png is not there; {how_to_get}")
    # On a remote disk, opening tens of thousands of files is waiting.
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(image_size, [images[name] for name in names]))
    return [
        {
            "file_name": str(images[name]),
            "sem_seg_file_name": str(labels[name]),
            "image_id": name,
            "height": height,
            "width": width,
        }
        for name, (height, width) in zip(names, sizes)
    ]


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


def _files_by_name(folder: Path, suffixes: tuple[str, ...], how_to_get: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; {how_to_get}")
    files: dict[str, Path] = {}
    for file in folder.iterdir():
        if file.suffix.lower() in suffixes:
            if file.stem in files:
                raise DataError(f"{folder}: both {file.name} and {files[file.stem].name} are images of one name")
            files[file.stem] = file
    if not files:
        raise DataError(f"{folder}: no {' or '.join(suffixes)} file in it; {how_to_get}")
    return files


def _report_left_out(names: list[str], label_dir: Path, image_dir: Path) -> None:
    if names:
        logging.getLogger(__name__).warning(
            f"{label_dir}: {len(names)} labels have no image in {image_dir}, {names[0]} first; they are left out"
        )
