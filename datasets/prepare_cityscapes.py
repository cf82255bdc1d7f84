#!/usr/bin/env python3
"""Prepare Cityscapes: unpack the archives in its folder, write the train ids and the panoptic files.

    python datasets/prepare_cityscapes.py [--root datasets/cityscapes] [--workers 8]

Reads leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, or the files in them. The labels are made by
cityscapesScripts: pip install cityscapesscripts. See datasets/README.md.
"""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.io.file_system import glob_files
from unified_seg.data.io.label_files import read_label
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.io.text_files import read_json
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, count_files, run_script
from unified_seg.data.preparation.files import link_or_copy
from unified_seg.data.preparation.labels import Label, write_labels
from unified_seg.data.preparation.panoptic_json import read_image_ids, write_panoptic_json
from unified_seg.data.problems import DataError
from unified_seg.hints import format_hint
from unified_seg_files import delete_tree

IMAGES = {"train": 2_975, "val": 500, "test": 1_525}
LABELLED = ("train", "val")
IMAGE_SUFFIX, LABEL_SUFFIX = "_leftImg8bit.png", "_gtFine_"
HOW_TO_GET = (
    "put leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of https://www.cityscapes-dataset.com/downloads there"
)


class PanopticJob(NamedTuple):
    """An image to convert with cityscapesScripts; `part` is the file for its entry of the split's JSON."""

    split: str
    instance_ids: Path
    png: Path
    part: Path


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """Prepare the data set; return the number of files written.

    Raises:
        DataError: files are missing or damaged, or their number is not the official one.
    """
    check_scripts()
    written = sum(unpack(root / f"{name}_trainvaltest.zip", root, only=(name,)) for name in ("leftImg8bit", "gtFine"))
    counts = {}
    for split, number in IMAGES.items():
        counts[f"{split} images"] = count_files(root / "leftImg8bit" / split, f"*/*{IMAGE_SUFFIX}"), number
        if split in LABELLED:
            for kind in ("instanceIds.png", "polygons.json"):
                found = count_files(root / "gtFine" / split, f"*/*{LABEL_SUFFIX}{kind}")
                counts[f"{split} {kind}"] = found, number
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    for split in LABELLED:
        polygons = glob_files(root / "gtFine" / split, f"*/*{LABEL_SUFFIX}polygons.json")
        labels = [_train_id_label(root, split, file) for file in polygons]
        labels = [label for label in labels if label.image.is_file()]
        written += write_labels(labels, draw_train_ids, workers, f"{split}: train ids")
        written += write_panoptic(root / "gtFine", split, workers)
    return written


def check_scripts() -> None:
    """Raise DataError if cityscapesScripts is not installed."""
    try:
        import cityscapesscripts  # noqa: F401
    except ImportError:
        raise DataError(
            f"cityscapesScripts is needed to make the labels: {format_hint('pip', 'install', 'cityscapesscripts')}"
        ) from None


def _train_id_label(root: Path, split: str, polygons: Path) -> Label:
    stem = polygons.name.removesuffix(f"{LABEL_SUFFIX}polygons.json")
    image = root / "leftImg8bit" / split / polygons.parent.name / f"{stem}{IMAGE_SUFFIX}"
    return Label(image, (polygons,), polygons.with_name(f"{stem}{LABEL_SUFFIX}labelTrainIds.png"))


def draw_train_ids(polygons: Path) -> np.ndarray:
    """Draw the (H, W) uint8 train ids of polygons with cityscapesScripts; 255 is unlabeled."""
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.preparation.json2labelImg import createLabelImage

    annotation = Annotation()
    try:
        annotation.fromJsonFile(str(polygons))
        return np.asarray(createLabelImage(annotation, "trainIds"))
    # cityscapesScripts exits at an unknown label.
    except (ValueError, KeyError, TypeError, AttributeError, OSError, SystemExit) as error:
        raise DataError(f"{polygons}: not polygons of Cityscapes: {type(error).__name__}: {error}") from None


def write_panoptic(ground_truth: Path, split: str, workers: int) -> int:
    """Write cityscapes_panoptic_<split>.json and its PNGs if they are missing; return the number of files written."""
    json_file = ground_truth / f"cityscapes_panoptic_{split}.json"
    pngs, parts = json_file.with_suffix(""), ground_truth / f".{json_file.stem}"
    jobs = []
    for file in glob_files(ground_truth / split, f"*/*{LABEL_SUFFIX}instanceIds.png"):
        stem = file.name.removesuffix(f"{LABEL_SUFFIX}instanceIds.png")
        jobs.append(PanopticJob(split, file, pngs / f"{stem}{LABEL_SUFFIX}panoptic.png", parts / f"{stem}.json"))
    if not jobs:
        return 0  # a part of the data set without this split
    pngs.mkdir(exist_ok=True)
    pngs_missing = sum(not job.png.is_file() for job in jobs)
    listed = read_image_ids(json_file) == [job.part.stem for job in jobs]
    missing = [job for job in jobs if not (job.png.is_file() and (listed or job.part.is_file()))]
    map_in_parallel(convert_image, missing, workers, f"{split}: panoptic")
    if not listed:
        contents = [read_json(job.part) for job in jobs]
        entries = [(content["images"][0], content["annotations"][0]) for content in contents]
        write_panoptic_json(json_file, entries, contents[0]["categories"])
    delete_tree(parts)
    return pngs_missing + (not listed)


def convert_image(job: PanopticJob) -> None:
    """Convert one image with cityscapesScripts, which takes a folder: it gets one with this image alone."""
    from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic

    read_label(job.instance_ids)  # raises DataError, which names the file, if it is not an image
    folder = job.part.with_suffix("")
    delete_tree(folder)
    source = folder / job.split / job.instance_ids.parent.name / job.instance_ids.name
    link_or_copy(job.instance_ids, source)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            convert2panoptic(str(folder), str(folder), setNames=[job.split])
    except (KeyError, ValueError, OSError, SystemExit) as error:
        raise DataError(
            f"{job.instance_ids}: not instance ids of Cityscapes: {type(error).__name__}: {error}"
        ) from None
    result = folder / f"cityscapes_panoptic_{job.split}"
    result.with_suffix(".json").replace(job.part)
    if not job.png.is_file():
        (result / job.png.name).replace(job.png)
    delete_tree(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "cityscapes", __doc__, arguments)


if __name__ == "__main__":
    main()
