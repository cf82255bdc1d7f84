#!/usr/bin/env python3
"""Prepare Pascal-Context: unpack the archives in its folder, write the labels of 59 classes and the lists.

    python datasets/prepare_pascal_context.py [--root datasets/VOC2010] [--workers 8]

Reads VOCtrainval_03-May-2010.tar, and trainval.tar.gz and labels.txt of Pascal-Context, or the files in them. See
datasets/README.md.

Of the 459 labeled classes, 59 are kept; pixels of the others and unlabeled pixels become background. The splits are
train and val of VOC 2010, whose images are all labeled.
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
from unified_seg.data.preparation.labels import Label, select_available, write_labels
from unified_seg.data.preparation.matlab import read_mat
from unified_seg.data.problems import DataError, MissingFileError

# Number of classes in labels.txt.
NAMES = 459


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """Prepare the data set; return the number of files written.

    Raises:
        DataError: files are missing or damaged, or their number is not the official one.
    """
    written = unpack(root / "VOCtrainval_03-May-2010.tar", root, inside="VOCdevkit/VOC2010")
    written += unpack(root / "trainval.tar.gz", root, only=("trainval", "labels.txt"))
    labels = {split: list_labels(root, split) for split in IMAGES}
    there = {split: select_available(labels[split]) for split in IMAGES}
    counts = {f"{split} images with labels": (len(there[split]), number) for split, number in IMAGES.items()}
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    read = partial(read_label_ids, read_class_ids(root / "labels.txt"))
    for split in IMAGES:
        written += write_labels(there[split], read, workers, f"{split}: labels")
        names = [label.image.stem for label in there[split]]
        written += write_names(root / "ImageSets" / "SegmentationContext" / f"{split}.txt", names)
    return written


def list_labels(root: Path, split: str) -> list[Label]:
    """List the label maps of a split."""
    return [
        Label(
            root / "JPEGImages" / f"{name}.jpg",
            (root / "trainval" / f"{name}.mat",),
            root / "SegmentationClassContext" / f"{name}.png",
        )
        for name in sorted(read_names(root / "ImageSets" / "Main" / f"{split}.txt", HOW_TO_GET))
    ]


def read_class_ids(file: Path) -> np.ndarray:
    """Read labels.txt, with lines such as `2: aeroplane`; return (460,) uint8, the class 1 .. 59 of each id, or 0.

    Raises:
        DataError: the file is missing, or some of the 59 classes are not in it.
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
        raise DataError(f"{file}: expected lines such as '2: aeroplane': {error}") from None
    if class_of:
        raise DataError(f"{file}: the classes {', '.join(class_of)} are missing")
    return ids


def read_label_ids(ids: np.ndarray, file: Path) -> np.ndarray:
    """Read a .mat file of the download; return (H, W) uint8 label ids, 0 .. 59."""
    label_map = read_mat(file, "LabelMap")
    if label_map.min() < 0 or label_map.max() > NAMES:
        raise DataError(f"{file}: label ids must be 0 .. {NAMES}, got {label_map.min()} .. {label_map.max()}")
    return ids[label_map]


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "VOC2010", __doc__, arguments)


if __name__ == "__main__":
    main()
