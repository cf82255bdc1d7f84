#!/usr/bin/env python3
"""Prepare PASCAL VOC 2012: unpack the archives in its folder, write the labels and the list of trainaug.

    python datasets/prepare_voc2012.py [--root datasets/VOC2012] [--workers 8]

Reads VOCtrainval_11-May-2012.tar and, for trainaug, benchmark.tgz of the Semantic Boundaries Dataset (SBD), or the
files in them. See datasets/README.md.

trainaug is train of VOC together with the images of SBD, without val of VOC. Images of train keep the labels of VOC.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.semantic_folder import read_names
from unified_seg.data.datasets.voc import HOW_TO_GET, IMAGES
from unified_seg.data.io.label_files import read_label
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, run_script
from unified_seg.data.preparation.files import write_names
from unified_seg.data.preparation.labels import Label, select_available, write_labels
from unified_seg.data.preparation.matlab import read_mat
from unified_seg.data.problems import DataError

LISTS = Path("ImageSets/Segmentation")
SBD = "benchmark_RELEASE/dataset"
LABEL_IDS = [*range(21), 255]


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """Prepare the data set; return the number of files written.

    Raises:
        DataError: files are missing or damaged, or their number is not the official one.
    """
    written = unpack(root / "VOCtrainval_11-May-2012.tar", root, inside="VOCdevkit/VOC2012")
    # Its images are those of VOC.
    written += unpack(root / "benchmark.tgz", root, only=(f"{SBD}/cls", f"{SBD}/train.txt", f"{SBD}/val.txt"))
    names = {split: read_names(root / LISTS / f"{split}.txt", HOW_TO_GET) for split in ("train", "val")}
    labels = {split: [make_label(root, name, "SegmentationClass", ".png") for name in names[split]] for split in names}
    if with_sbd := (root / SBD).is_dir():
        labels["trainaug"] = list_trainaug(root, names)
    else:
        logging.getLogger(__name__).warning(f"{root}: no {SBD}, so unified_voc2012_trainaug is left out; {HOW_TO_GET}")
    there = {split: select_available(labels[split]) for split in labels}
    counts = {f"{split} images with labels": (len(there[split]), IMAGES[split]) for split in there}
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    if with_sbd:
        written += write_labels(there["trainaug"], read_label_ids, workers, "trainaug: labels")
        written += write_names(root / LISTS / "trainaug.txt", [label.image.stem for label in there["trainaug"]])
    return written


def make_label(root: Path, name: str, folder: str, suffix: str) -> Label:
    """Describe the label map of an image, made from the file of this folder and suffix."""
    output = root / "SegmentationClassAug" / f"{name}.png"
    return Label(root / "JPEGImages" / f"{name}.jpg", (root / folder / f"{name}{suffix}",), output)


def list_trainaug(root: Path, names: dict[str, list[str]]) -> list[Label]:
    """List the label maps of trainaug, sorted by name."""
    sbd = {name for split in ("train", "val") for name in read_names(root / SBD / f"{split}.txt", HOW_TO_GET)}
    own = set(names["train"])
    return [
        make_label(root, name, "SegmentationClass", ".png")
        if name in own
        else make_label(root, name, f"{SBD}/cls", ".mat")
        for name in sorted((sbd | own) - set(names["val"]))
    ]


def read_label_ids(file: Path) -> np.ndarray:
    """Read a PNG of VOC or a .mat file of SBD; return (H, W) uint8 label ids, 0 .. 20 and 255."""
    ids = read_label(file) if file.suffix == ".png" else read_mat(file, "GTcls", "Segmentation")
    if unknown := np.setdiff1d(ids, LABEL_IDS).tolist():
        raise DataError(f"{file}: label ids must be 0 .. 20 or 255, got {unknown}")
    return ids.astype(np.uint8)


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "VOC2012", __doc__, arguments)


if __name__ == "__main__":
    main()
