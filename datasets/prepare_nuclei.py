#!/usr/bin/env python3
"""Prepare the nuclei of the Data Science Bowl 2018: unpack the archive, write the images of 256x256 and their segments.

    python datasets/prepare_nuclei.py [--root datasets/nuclei] [--workers 8]

Reads kaggle-dsbowl-2018-dataset-fixes-master.zip, the public corrections of the challenge's training images, or
stage1_train.zip, the challenge's own, or the files in them: stage1_train/<id>/images/<id>.png and masks/*.png, one mask
for each nucleus. See datasets/README.md.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.small.nuclei import CATEGORIES, HOW_TO_GET, IMAGES
from unified_seg.data.datasets.small.panoptic_splits import get_panoptic_json
from unified_seg.data.io.file_system import glob_files
from unified_seg.data.io.image_files import read_image, read_image_size
from unified_seg.data.io.label_files import check_size, read_label
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, run_script
from unified_seg.data.preparation.images import write_images
from unified_seg.data.preparation.labels import Label
from unified_seg.data.preparation.panoptic_json import write_panoptic_files
from unified_seg.data.problems import DataError

SIZE = (256, 256)
BACKGROUND, NUCLEUS = (category["id"] for category in CATEGORIES)
# More than the nuclei of an image, at most 375.
IDS = 1000
# The first digits of the ids of `val`. They are listed, so that parts of the data set have the same split.
VAL = """
    07761fa3 08ae2741 10328b82 139946af 1740b0a6 1b6044e4 1e61ecf3 243443ae 2ad489c1 2dd9d8c7 30311520 317832f9
    33d0a9b2 35ca5f14 44ab6a09 4a424e0c 4c465a54 4ff152d7 55ff2b0e 58c593bc 608ff81c 61a15ccb 66612c18 6aa7dd0c
    6fb82031 72e8c49d 77ceeb87 7b5987a2 81e2dd95 88d5a03f 8b12e186 8e8a7a14 8f6e49e4 9774c823 9d429167 a1f50f10
    a3a65623 aa4d989d abc781c8 af8621ef b3bfd873 b67a6e5d b7a86f49 ba3997ed bff98559 c0c4a829 c2a646a8 c75139ef
    ce9e1a58 d1ba6089 d32ea6d3 d7ec8003 dad607a2 e2d22d3d e4ae1ced e66f25e1 ea00f5a9 f43169e3 f534b43b f8e74d40
    fa73f245 fc5452f6 fec226e4
"""


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """Prepare the data set; return the number of files written.

    Raises:
        DataError: files are missing or damaged, or their number is not the official one.
    """
    corrected = "kaggle-dsbowl-2018-dataset-fixes-master"
    written = unpack(root / f"{corrected}.zip", root, inside=corrected, only=("stage1_train",))
    written += unpack(root / "stage1_train.zip", root / "stage1_train")
    splits: dict[str, list[tuple[Path, Label]]] = {split: [] for split in IMAGES}
    for image in glob_files(root / "stage1_train", "*/images/*.png"):
        if read_image_size(image) == SIZE:
            split = "val" if image.stem[:8] in VAL.split() else "train"
            splits[split].append((image, make_label(root, split, image)))
    counts = {f"{split} images": (len(splits[split]), number) for split, number in IMAGES.items()}
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    for split, images in splits.items():
        labels = [label for _, label in images]
        pairs = [(image, label.image) for image, label in images]
        written += write_images(pairs, partial(read_image, format="RGB"), workers, f"{split}: images")
        json_file = get_panoptic_json(root, split)
        written += write_panoptic_files(
            json_file, labels, merge_masks, CATEGORIES, ids_per_category=IDS, workers=workers
        )
    return written


def make_label(root: Path, split: str, image: Path) -> Label:
    """Describe the panoptic PNG of an image; its name is the first 16 of the 64 digits of the image's."""
    masks = glob_files(image.parent.parent / "masks", "*.png")
    if not masks:
        raise DataError(f"{image.parent.parent / 'masks'}: no mask in it; {HOW_TO_GET}")
    name = f"{image.stem[:16]}.png"
    return Label(root / split / name, tuple(masks), get_panoptic_json(root, split).with_suffix("") / name)


def merge_masks(*files: Path) -> np.ndarray:
    """Merge masks, each 0 and another value, to (H, W) int32 segment ids; of overlapping masks the last one counts."""
    ids = np.full(SIZE, (BACKGROUND + 1) * IDS, dtype=np.int32)
    for number, file in enumerate(files):
        ids[check_size(read_label(file), SIZE, file) > 0] = (NUCLEUS + 1) * IDS + number
    return ids


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "nuclei", __doc__, arguments)


if __name__ == "__main__":
    main()
