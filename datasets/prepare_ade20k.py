#!/usr/bin/env python3
"""Prepare ADE20K: unpack the archives in its folder, write the semantic labels and the panoptic files.

    python datasets/prepare_ade20k.py [--root datasets/ADEChallengeData2016] [--workers 8]

Reads ADEChallengeData2016.zip and, for the panoptic files, annotations_instance.tar, or the files in them. See
datasets/README.md.

The panoptic files are those of Mask2Former's prepare_ade20k_pan_seg.py: stuff comes from the semantic labels, with the
instances on top. A pixel of a thing class without an instance is void.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.ade20k import FOLDERS, HOW_TO_GET, IMAGES, list_ade20k_categories
from unified_seg.data.io.file_system import glob_files
from unified_seg.data.io.label_files import read_label, read_panoptic_ids
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, count_files, run_script
from unified_seg.data.preparation.labels import Label, write_labels
from unified_seg.data.preparation.panoptic_json import write_panoptic_files
from unified_seg.data.problems import DataError

CATEGORIES = list_ade20k_categories()
# A segment's id is this times the id in the semantic label, 1 .. 150, plus the number of the instance, 0 for stuff.
INSTANCES = 256


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """Prepare the data set; return the number of files written.

    Raises:
        DataError: files are missing or damaged, or their number is not the official one.
    """
    written = unpack(root / "ADEChallengeData2016.zip", root, inside="ADEChallengeData2016")
    written += unpack(root / "annotations_instance.tar", root, only=("annotations_instance",))
    kinds = {"images": "*.jpg", "annotations": "*.png"}
    if with_instances := (root / "annotations_instance").is_dir():
        kinds["annotations_instance"] = "*.png"
    else:
        logging.getLogger(__name__).warning(
            f"{root}: no annotations_instance, so unified_ade20k_panoptic_* is left out; {HOW_TO_GET}"
        )
    counts = {
        f"{split} {kind}": (count_files(root / kind / FOLDERS[split], pattern), number)
        for split, number in IMAGES.items()
        for kind, pattern in kinds.items()
    }
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    for split in IMAGES:
        written += write_semantic(root, split, workers)
        if with_instances:
            written += write_panoptic(root, split, workers)
    return written


def write_semantic(root: Path, split: str, workers: int) -> int:
    """Write annotations_detectron2; return the number of files written."""
    folder = FOLDERS[split]
    labels = [
        Label(image, (root / "annotations" / folder / f"{image.stem}.png",), output)
        for image in glob_files(root / "images" / folder, "*.jpg")
        for output in [root / "annotations_detectron2" / folder / f"{image.stem}.png"]
    ]
    return write_labels(labels, read_semantic_ids, workers, f"{split}: semantic labels")


def read_semantic_ids(file: Path) -> np.ndarray:
    """Read a label of the challenge; return (H, W) uint8, with 0 .. 149 for 1 .. 150, and 255 for 0."""
    return _read_challenge_ids(file) - np.uint8(1)


def _read_challenge_ids(file: Path) -> np.ndarray:
    ids = read_label(file)
    if ids.dtype != np.uint8 or ids.max() > len(CATEGORIES):
        raise DataError(f"{file}: label ids must be 0 .. {len(CATEGORIES)}, got {ids.max()}")
    return ids


def write_panoptic(root: Path, split: str, workers: int) -> int:
    """Write ade20k_panoptic_<split>.json and its PNGs; return the number of files written."""
    folder, json_file = FOLDERS[split], root / f"ade20k_panoptic_{split}.json"
    labels = []
    for image in glob_files(root / "images" / folder, "*.jpg"):
        sources = [root / kind / folder / f"{image.stem}.png" for kind in ("annotations", "annotations_instance")]
        labels.append(Label(image, tuple(sources), json_file.with_suffix("") / f"{image.stem}.png"))
    return write_panoptic_files(
        json_file, labels, merge_panoptic_ids, CATEGORIES, ids_per_category=INSTANCES, workers=workers
    )


def merge_panoptic_ids(semantic_file: Path, instance_file: Path) -> np.ndarray:
    """Merge a semantic label and instances (R = class 1 .. 100, G = number) to (H, W) int32 segment ids, 0 = void."""
    is_thing = np.array([False, *(bool(c["isthing"]) for c in CATEGORIES)])
    thing_ids = np.zeros(256, dtype=np.int32)
    thing_ids[1 : 1 + is_thing.sum()] = np.flatnonzero(is_thing)
    semantic = _read_challenge_ids(semantic_file)
    coded = read_panoptic_ids(instance_file)
    if coded.shape != semantic.shape:
        raise DataError(f"{instance_file}: size {coded.shape}, but {semantic_file} has {semantic.shape} (H, W)")
    number = coded >> 8 & 255
    thing = np.where(number > 0, thing_ids[coded & 255], 0)
    if (wrong := (number > 0) & (thing == 0)).any():
        raise DataError(f"{instance_file}: classes of instances must be 1 .. 100, got {(coded & 255)[wrong][0]}")
    stuff = np.where(is_thing[semantic], 0, semantic).astype(np.int32)
    return np.where(number > 0, thing * INSTANCES + number, stuff * INSTANCES)


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "ADEChallengeData2016", __doc__, arguments)


if __name__ == "__main__":
    main()
