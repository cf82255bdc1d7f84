#!/usr/bin/env python3
"""Prepare Pascal-Context: unpack the archives in its folder, write the labels of 59 classes and the lists.

    python datasets/prepare_pascal_context.py [--root datasets/VOC2010] [--workers 8]

Reads VOCtrainval_03-May-2010.tar, and trainval.tar.gz and labels.txt of Pascal-Context, or what they hold. See
datasets/README.md.

Of the 459 classes that the authors labeled, 59 keep their pixels; those of the others are background, as are those
without a label. The splits are those of VOC 2010: all its train and val images are labeled.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.pascal_context import CLASS_NAMES, HOW_TO_GET, IMAGES
from unified_seg.data.datasets.semantic_folder import read_names
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, run_script
from unified_seg.data.preparation.files import write_names
from unified_seg.data.preparation.labels import Label, available, write_labels
from unified_seg.data.preparation.matlab import read_mat
from unified_seg.data.problems import DataError, MissingFileError

# The classes in labels.txt.
NAMES = 459


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """How many files were written; raises DataError for what is missing, damaged or not the official number."""
    written = unpack(root / "VOCtrainval_03-May-2010.tar", root, inside="VOCdevkit/VOC2010")
    written += unpack(root / "trainval.tar.gz", root, only=("trainval", "labels.txt"))
    labels = {split: labels_of(root, split) for split in IMAGES}
    there = {split: available(labels[split]) for split in IMAGES}
    counts = {f"{split} images with labels": (len(there[split]), number) for split, number in IMAGES.items()}
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    read = partial(label_ids, class_ids(root / "labels.txt"))
    for split in IMAGES:
        written += write_labels(there[split], read, workers, f"{split}: labels")
        names = [label.image.stem for label in there[split]]
        written += write_names(root / "ImageSets" / "SegmentationContext" / f"{split}.txt", names)
    return written


def labels_of(root: Path, split: str) -> list[Label]:
    return [
        Label(
            root / "JPEGImages" / f"{name}.jpg",
            (root / "trainval" / f"{name}.mat",),
            root / "SegmentationClassContext" / f"{name}.png",
        )
        for name in sorted(read_names(root / "ImageSets" / "Main" / f"{split}.txt", HOW_TO_GET))
    ]


def class_ids(file: Path) -> np.ndarray:
    """(460,) uint8: of each id of the authors' list, lines such as `2: aeroplane`, the class 1 .. 59, or 0.

    Raises:
        DataError: there is no such list, or not all of the 59 classes are in it.
    """
    class_of = {name: class_id for class_id, name in enumerate(CLASS_NAMES.split(), start=1)}
    ids = np.zeros(NAMES + 1, dtype=np.uint8)
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            number, _, name = line.partition(":")
            if class_id := class_of.pop(name.strip(), 0):
                ids[int(number)] = class_id
    except FileNotFoundError:
        raise MissingFileError(f"{file}: there is no such file; {HOW_TO_GET}") from None
    except (ValueError, IndexError) as error:
        raise DataError(f"{file}: not a list of lines such as '2: aeroplane': {error}") from None
    if class_of:
        raise DataError(f"{file}: the classes {', '.join(class_of)} are not in it")
    return ids


def label_ids(ids: np.ndarray, file: Path) -> np.ndarray:
    """(H, W) uint8, 0 .. 59, of a .mat file of the download."""
    label_map = read_mat(file, "LabelMap")
    if label_map.min() < 0 or label_map.max() > NAMES:
        raise DataError(f"{file}: label ids are 0 .. {NAMES}, this has {label_map.min()} .. {label_map.max()}")
    return ids[label_map]


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "VOC2010", __doc__, arguments)


if __name__ == "__main__":
    main()
