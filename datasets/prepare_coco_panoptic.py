#!/usr/bin/env python3
"""Prepare COCO panoptic 2017: unpack the archives in its folder, check that each annotation has its image and PNG.

    python datasets/prepare_coco_panoptic.py [--root datasets/coco] [--workers 8]

Reads train2017.zip, val2017.zip and panoptic_annotations_trainval2017.zip, or the files in them. Nothing else is
written: semantic labels are read from the panoptic PNGs. See datasets/README.md.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.coco_panoptic_2017 import HOW_TO_GET, IMAGES, load_coco_panoptic_2017
from unified_seg.data.io.file_system import glob_files
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, run_script
from unified_seg.data.problems import DataError


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """Prepare the data set; return the number of files written.

    Raises:
        DataError: files are missing or damaged, or their number is not the official one.
    """
    written = unpack(root / "panoptic_annotations_trainval2017.zip", root, only=("annotations",))
    for split in IMAGES:
        written += unpack(root / f"{split}2017.zip", root, only=(f"{split}2017",))
        pngs = f"panoptic_{split}2017"
        written += unpack(root / "annotations" / f"{pngs}.zip", root, only=(pngs,))
    stems = map_in_parallel(partial(list_stems, root), list(IMAGES), min(workers, len(IMAGES)), "checking")
    counts = {}
    for (split, number), kinds in zip(IMAGES.items(), stems):
        counts.update({f"{split} {kind}": (len(found), number) for kind, found in kinds.items()})
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    for split, kinds in zip(IMAGES, stems):
        check_split(root, split, kinds)
    return written


def list_stems(root: Path, split: str) -> dict[str, set[str]]:
    """Return the names without suffix of the images, of the PNGs, and of the annotations of a split."""
    there = (root / "annotations" / f"panoptic_{split}2017.json").is_file()
    records = load_coco_panoptic_2017(root, split) if there else []
    return {
        "images": {file.stem for file in glob_files(root / f"{split}2017", "*.jpg")},
        "PNGs": {file.stem for file in glob_files(root / f"panoptic_{split}2017", "*.png")},
        "annotations": {Path(record["pan_seg_file_name"]).stem for record in records},
    }


def check_split(root: Path, split: str, kinds: dict[str, set[str]]) -> None:
    """Check that each annotation has an image and a PNG.

    Raises:
        DataError: one has not; the message has its name.
    """
    for kind in ("images", "PNGs"):
        if missing := sorted(kinds["annotations"] - kinds[kind]):
            json_file = root / "annotations" / f"panoptic_{split}2017.json"
            raise DataError(
                f"{json_file}: {len(missing)} annotations have no file among the {kind}, first {missing[0]}"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "coco", __doc__, arguments)


if __name__ == "__main__":
    main()
