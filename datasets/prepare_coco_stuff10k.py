#!/usr/bin/env python3
"""Prepare COCO-Stuff 10k 1.0: unpack the archive in its folder, link the images of each split, write the labels.

    python datasets/prepare_coco_stuff10k.py [--root datasets/coco/coco_stuff_10k] [--workers 8]

Reads cocostuff-10k-v1.0.zip, or the files in it. The labels are MATLAB files of version 7.3, which need h5py (pip
install h5py). Version 1.1 has other ids and is not supported. See datasets/README.md.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.coco_stuff import HOW_TO_GET, IMAGES, build_coco_stuff10k_table
from unified_seg.data.datasets.semantic_folder import read_names
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, run_script
from unified_seg.data.preparation.files import link_or_copy
from unified_seg.data.preparation.labels import Label, select_available, write_labels
from unified_seg.data.preparation.matlab import read_mat73
from unified_seg.data.problems import DataError

CLASSES = len(build_coco_stuff10k_table().classes)
# In the download, 1 is unlabeled and the ids of classes start at 2.
FIRST = 2


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """Prepare the data set; return the number of files written.

    Raises:
        DataError: files are missing or damaged, or their number is not the official one.
    """
    written = unpack(root / "cocostuff-10k-v1.0.zip", root, only=("images", "annotations", "imageLists"))
    labels = {split: list_labels(root, split) for split in IMAGES}
    there = {split: select_available(labels[split]) for split in IMAGES}
    counts = {f"{split} images with labels": (len(there[split]), number) for split, number in IMAGES.items()}
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    for split in IMAGES:
        written += link_images(there[split], root / "images_detectron2" / split)
        written += write_labels(there[split], read_label_ids, workers, f"{split}: labels")
    return written


def list_labels(root: Path, split: str) -> list[Label]:
    """List the label maps of a split."""
    outputs = root / "annotations_detectron2" / split
    return [
        Label(root / "images" / f"{name}.jpg", (root / "annotations" / f"{name}.mat",), outputs / f"{name}.png")
        for name in read_names(root / "imageLists" / f"{split}.txt", HOW_TO_GET)
    ]


def link_images(labels: Sequence[Label], folder: Path) -> int:
    """Put the images into a folder, as hard links or as copies; return the number of new files."""
    missing = [label.image for label in labels if not (folder / label.image.name).is_file()]
    for image in tqdm(missing, desc=f"{folder.name}: images", unit="file", disable=None):
        link_or_copy(image, folder / image.name)
    return len(missing)


def read_label_ids(file: Path) -> np.ndarray:
    """Read a .mat file of the download; return (H, W) uint8 label ids, 0 .. 170 and 255."""
    ids = read_mat73(file, "S")
    if ids.min() < FIRST - 1 or ids.max() >= FIRST + CLASSES:
        raise DataError(f"{file}: label ids of version 1.0 must be 1 .. 172, got {ids.min()} .. {ids.max()}")
    return np.where(ids < FIRST, 255, ids - FIRST).astype(np.uint8)


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "coco" / "coco_stuff_10k", __doc__, arguments)


if __name__ == "__main__":
    main()
