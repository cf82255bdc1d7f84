"""Cityscapes, and data sets in its layout: semantic, instance and panoptic ground truth in one record.

Detectron2's `cityscapes_fine_panoptic_*` have no instance annotations, its `cityscapes_fine_instance_seg_*` no panoptic
ones; a unified model needs all three. Instances come from the panoptic PNG.
"""

import logging
from pathlib import Path
from typing import Any

from detectron2.data.datasets.builtin_meta import CITYSCAPES_CATEGORIES

from unified_seg.data.coco.panoptic_format import read_panoptic_annotations
from unified_seg.data.coco.records import read_image_entries
from unified_seg.data.datasets.registration import register_dataset
from unified_seg.data.io.file_system import glob_files
from unified_seg.data.io.image_files import read_image_size
from unified_seg.data.io.text_files import read_json_object
from unified_seg.data.problems import DataError, MissingFileError
from unified_seg.hints import format_hint
from unified_seg.structures.class_table import ClassTable, SegmentClass

PREPARE = format_hint("python", "datasets/prepare_cityscapes.py")
IMAGE_SUFFIX = "_leftImg8bit.png"

# Cityscapes' own categories (cityscapesscripts.helpers.labels), for the classes that are evaluated.
CATEGORY_MEMBERS = {
    "flat": ("road", "sidewalk"),
    "construction": ("building", "wall", "fence"),
    "object": ("pole", "traffic light", "traffic sign"),
    "nature": ("vegetation", "terrain"),
    "sky": ("sky",),
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
}


def build_cityscapes_table() -> ClassTable:
    """Return the 19 classes: semantic ids are Cityscapes' train ids, thing ids count its 8 things."""
    category_of = {name: category for category, names in CATEGORY_MEMBERS.items() for name in names}
    thing_ids = {c["id"]: i for i, c in enumerate(c for c in CITYSCAPES_CATEGORIES if c["isthing"])}
    return ClassTable(
        SegmentClass(c["name"], c["trainId"], thing_ids.get(c["id"]), c["id"], category_of[c["name"]], c["color"])
        for c in CITYSCAPES_CATEGORIES
    )


def register_cityscapes_like(name: str, root: Path, split: str) -> None:
    """Register a split of a folder in Cityscapes' layout; files are read when the data set is first used."""
    gt_dir = root / "gtFine"
    register_dataset(
        name,
        lambda: load_cityscapes_like(root, split),
        build_cityscapes_table(),
        panoptic_json=str(gt_dir / f"cityscapes_panoptic_{split}.json"),
        panoptic_root=str(gt_dir / f"cityscapes_panoptic_{split}"),
        label_divisor=1000,
    )


def load_cityscapes_like(root: Path, split: str) -> list[dict[str, Any]]:
    """Return the records of a split.

    Args:
        root: contains leftImg8bit/ and gtFine/ with *_labelTrainIds.png, *_instanceIds.png, and
            cityscapes_panoptic_<split>.json with its folder of PNGs.
        split: "train", "val", ...; of "test" only the images are read, since its labels are not public.

    Raises:
        DataError: a missing folder, image or label, or a JSON that contradicts the files.
    """
    image_dir = root / "leftImg8bit" / split
    if not image_dir.is_dir():
        raise MissingFileError(f"{image_dir}: there is no such folder; {_describe_preparation(root)}")
    images = glob_files(image_dir, f"*/*{IMAGE_SUFFIX}")
    if not images:
        raise DataError(f"{image_dir}: no */*{IMAGE_SUFFIX} in it")
    annotations = {} if split == "test" else _read_panoptic_json(root, split)
    records = []
    for image in images:
        stem = image.name[: -len(IMAGE_SUFFIX)]
        record: dict[str, Any] = {"file_name": str(image), "image_id": stem}
        if split == "test":
            record["height"], record["width"] = read_image_size(image)
        else:
            if stem not in annotations:
                raise DataError(f"{image}: its image id {stem!r} is not in cityscapes_panoptic_{split}.json")
            record.update(annotations.pop(stem))
            record.update(_find_labels(root, split, image, stem))
        records.append(record)
    if annotations:
        logging.getLogger(__name__).warning(
            f"cityscapes_panoptic_{split}.json: {len(annotations)} images are not in {image_dir}, "
            f"{next(iter(annotations))} first; they are left out"
        )
    return records


def _describe_preparation(root: Path) -> str:
    if root.name == "toyscapes_demo":
        return "`make demo` makes it"
    if root.name.startswith("toyscapes"):
        size = root.name.removeprefix("toyscapes").removeprefix("_") or "128x256"
        counts = ("--train", 2000, "--heldout", 300, "--val", 300)
        command = ("unified-seg", "toyscapes", "--output", root, "--preset", "standard", "--size", size)
        return f"make it with {format_hint(*command, *counts)}"
    return (
        f"{PREPARE} makes it from the archives, see datasets/README.md; or set "
        "DETECTRON2_DATASETS to the folder that holds your data sets"
    )


def _find_labels(root: Path, split: str, image: Path, stem: str) -> dict[str, str]:
    folder = root / "gtFine" / split / image.parent.name
    files = {
        "sem_seg_file_name": folder / f"{stem}_gtFine_labelTrainIds.png",
        "instance_ids_file_name": folder / f"{stem}_gtFine_instanceIds.png",
    }
    for file in files.values():
        if not file.is_file():
            raise DataError(
                f"{image}: its label {file} does not exist; instanceIds come with the download of Cityscapes, "
                f"{PREPARE} writes labelTrainIds"
            )
    return {key: str(file) for key, file in files.items()}


def _read_panoptic_json(root: Path, split: str) -> dict[Any, dict[str, Any]]:
    """Return by image id: height, width, pan_seg_file_name, segments_info in Detectron2's terms."""
    file = root / "gtFine" / f"cityscapes_panoptic_{split}.json"
    try:
        content = read_json_object(file)
    except MissingFileError as error:
        raise DataError(f"{error}; {PREPARE} writes it") from None
    images = read_image_entries(file, content)
    return read_panoptic_annotations(file, content, images, file.with_suffix(""), build_cityscapes_table())
