#!/usr/bin/env python3
"""Prepare PASCAL VOC 2012: unpack the archives in its folder, write the labels and the list of trainaug.

    python datasets/prepare_voc2012.py [--root datasets/VOC2012] [--workers 8]

Reads VOCtrainval_11-May-2012.tar and, for trainaug, benchmark.tgz of the Semantic Boundaries Dataset (SBD), or what
they hold. See datasets/README.md.

trainaug is what SBD labeled, and VOC's train, without VOC's val; the labels of train are VOC's own.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.semantic_folder import read_names
from unified_seg.data.datasets.voc import HOW_TO_GET, IMAGES
from unified_seg.data.io.image_files import read_label
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, run_script
from unified_seg.data.preparation.files import write_names
from unified_seg.data.preparation.labels import Label, available, write_labels
from unified_seg.data.preparation.matlab import read_mat
from unified_seg.data.problems import DataError

LISTS = Path("ImageSets/Segmentation")
SBD = "benchmark_RELEASE/dataset"
LABEL_IDS = [*range(21), 255]


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """How many files were written; raises DataError for what is missing, damaged or not the official number."""
    written = unpack(root / "VOCtrainval_11-May-2012.tar", root, inside="VOCdevkit/VOC2012")
    # Its images are VOC's.
    written += unpack(root / "benchmark.tgz", root, only=(f"{SBD}/cls", f"{SBD}/train.txt", f"{SBD}/val.txt"))
    names = {split: read_names(root / LISTS / f"{split}.txt", HOW_TO_GET) for split in ("train", "val")}
    labels = {split: [label_of(root, name, "SegmentationClass", ".png") for name in names[split]] for split in names}
    if with_sbd := (root / SBD).is_dir():
        labels["trainaug"] = augmented(root, names)
    else:
        logging.getLogger(__name__).warning(f"{root}: no {SBD}, so unified_voc2012_trainaug is left out; {HOW_TO_GET}")
    there = {split: available(labels[split]) for split in labels}
    counts = {f"{split} images with labels": (len(there[split]), IMAGES[split]) for split in there}
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    if with_sbd:
        written += write_labels(there["trainaug"], label_ids, workers, "trainaug: labels")
        written += write_names(root / LISTS / "trainaug.txt", [label.image.stem for label in there["trainaug"]])
    return written


def label_of(root: Path, name: str, folder: str, suffix: str) -> Label:
    output = root / "SegmentationClassAug" / f"{name}.png"
    return Label(root / "JPEGImages" / f"{name}.jpg", (root / folder / f"{name}{suffix}",), output)


def augmented(root: Path, names: dict[str, list[str]]) -> list[Label]:
    """The labels of trainaug, sorted by name."""
    sbd = {name for split in ("train", "val") for name in read_names(root / SBD / f"{split}.txt", HOW_TO_GET)}
    own = set(names["train"])
    return [
        label_of(root, name, "SegmentationClass", ".png") if name in own else label_of(root, name, f"{SBD}/cls", ".mat")
        for name in sorted((sbd | own) - set(names["val"]))
    ]


def label_ids(file: Path) -> np.ndarray:
    """(H, W) uint8, 0 .. 20 and 255, of a PNG of VOC's or a .mat file of SBD's."""
    ids = read_label(file) if file.suffix == ".png" else read_mat(file, "GTcls", "Segmentation")
    if unknown := np.setdiff1d(ids, LABEL_IDS).tolist():
        raise DataError(f"{file}: label ids are 0 .. 20 and 255, this has {unknown}")
    return ids.astype(np.uint8)


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "VOC2012", __doc__, arguments)


if __name__ == "__main__":
    main()
