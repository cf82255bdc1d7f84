#!/usr/bin/env python3
"""Prepare Cityscapes: unpack the archives in its folder, write the train ids and the panoptic files.

    python datasets/prepare_cityscapes.py [--root datasets/cityscapes] [--workers 8]

Reads leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, or what they hold. The labels are made by
cityscapesScripts itself: pip install cityscapesscripts. See datasets/README.md.
"""

import contextlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.io.image_files import read_label
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.io.text_files import read_json
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, count_files, run_script
from unified_seg.data.preparation.files import link_or_copy
from unified_seg.data.preparation.labels import Label, write_labels
from unified_seg.data.preparation.panoptic_json import listed_images, write_panoptic_json
from unified_seg.data.problems import DataError

IMAGES = {"train": 2_975, "val": 500, "test": 1_525}
LABELLED = ("train", "val")
IMAGE_SUFFIX, LABEL_SUFFIX = "_leftImg8bit.png", "_gtFine_"
HOW_TO_GET = (
    "put leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of https://www.cityscapes-dataset.com/downloads there"
)


class PanopticJob(NamedTuple):
    """An image for cityscapesScripts; `part` is where its entry of the split's JSON waits for the others."""

    split: str
    instance_ids: Path
    png: Path
    part: Path


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """How many files were written; raises DataError for what is missing, damaged or not the official number."""
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
        polygons = sorted((root / "gtFine" / split).glob(f"*/*{LABEL_SUFFIX}polygons.json"))
        labels = [_train_id_label(root, split, file) for file in polygons]
        labels = [label for label in labels if label.image.is_file()]
        written += write_labels(labels, train_ids, workers, f"{split}: train ids")
        written += write_panoptic(root / "gtFine", split, workers)
    return written


def check_scripts() -> None:
    try:
        import cityscapesscripts  # noqa: F401
    except ImportError:
        raise DataError("cityscapesScripts is needed to make the labels: pip install cityscapesscripts") from None


def _train_id_label(root: Path, split: str, polygons: Path) -> Label:
    stem = polygons.name.removesuffix(f"{LABEL_SUFFIX}polygons.json")
    image = root / "leftImg8bit" / split / polygons.parent.name / f"{stem}{IMAGE_SUFFIX}"
    return Label(image, (polygons,), polygons.with_name(f"{stem}{LABEL_SUFFIX}labelTrainIds.png"))


def train_ids(polygons: Path) -> np.ndarray:
    """(H, W) uint8 train ids, 255 where there is none, drawn by cityscapesScripts."""
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.preparation.json2labelImg import createLabelImage

    annotation = Annotation()
    try:
        annotation.fromJsonFile(str(polygons))
        return np.asarray(createLabelImage(annotation, "trainIds"))
    # SystemExit is how the scripts end at a label that they don't know.
    except (ValueError, KeyError, TypeError, AttributeError, OSError, SystemExit) as error:
        raise DataError(f"{polygons}: not polygons of Cityscapes: {type(error).__name__}: {error}") from None


def write_panoptic(ground_truth: Path, split: str, workers: int) -> int:
    """Write cityscapes_panoptic_<split>.json and its PNGs, those that are not there; how many files were written."""
    json_file = ground_truth / f"cityscapes_panoptic_{split}.json"
    pngs, parts = json_file.with_suffix(""), ground_truth / f".{json_file.stem}"
    jobs = []
    for file in sorted((ground_truth / split).glob(f"*/*{LABEL_SUFFIX}instanceIds.png")):
        stem = file.name.removesuffix(f"{LABEL_SUFFIX}instanceIds.png")
        jobs.append(PanopticJob(split, file, pngs / f"{stem}{LABEL_SUFFIX}panoptic.png", parts / f"{stem}.json"))
    if not jobs:
        return 0  # of part of the data set
    pngs.mkdir(exist_ok=True)
    pngs_missing = sum(not job.png.is_file() for job in jobs)
    listed = listed_images(json_file) == [job.part.stem for job in jobs]
    missing = [job for job in jobs if not (job.png.is_file() and (listed or job.part.is_file()))]
    map_in_parallel(convert_image, missing, workers, f"{split}: panoptic")
    if not listed:
        contents = [read_json(job.part) for job in jobs]
        entries = [(content["images"][0], content["annotations"][0]) for content in contents]
        write_panoptic_json(json_file, entries, contents[0]["categories"])
    shutil.rmtree(parts, ignore_errors=True)
    return pngs_missing + (not listed)


def convert_image(job: PanopticJob) -> None:
    """Have cityscapesScripts convert one image; it takes folders, so it gets one with this image alone."""
    from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic

    read_label(job.instance_ids)  # names a file that is no image
    folder = job.part.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
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
    shutil.rmtree(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "cityscapes", __doc__, arguments)


if __name__ == "__main__":
    main()
