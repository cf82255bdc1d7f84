#!/usr/bin/env python3
"""Prepare the Crop/Weed Field Image Dataset: unpack the archive, write the images at half size and their segments.

    python datasets/prepare_cropweed.py [--root datasets/cropweed] [--workers 8]

Reads dataset-master.zip, or the files in it: images/*_image.png, annotations/*_annotation.png with the pixels of crop
in green and of weed in red, annotations/*_annotation.yaml with a polygon around each plant, and train_test_split.yaml.
See datasets/README.md.

The class of a pixel is that of its color; its plant is the first polygon of this class around it or, without one, the
plant of the nearest pixel of its class.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from unified_seg.data.datasets import get_datasets_root
from unified_seg.data.datasets.small.cropweed import CATEGORIES, HOW_TO_GET, IMAGES
from unified_seg.data.datasets.small.panoptic_splits import get_panoptic_json
from unified_seg.data.io.image_files import read_image
from unified_seg.data.io.label_files import read_panoptic_ids
from unified_seg.data.io.text_files import read_yaml
from unified_seg.data.preparation.archives import unpack
from unified_seg.data.preparation.command import check_counts, run_script
from unified_seg.data.preparation.images import write_images
from unified_seg.data.preparation.labels import Label
from unified_seg.data.preparation.panoptic_json import write_panoptic_files
from unified_seg.data.problems import DataError

ID_OF = {category["name"]: category["id"] for category in CATEGORIES}
# The class of each color, R + 256 G + 65536 B.
COLORS = {0: "soil", 255 << 8: "crop", 255: "weed"}
# More than the plants of an image.
IDS = 1000
# Pixels; no image is as large.
FARTHEST = 1e6


def prepare(root: Path, workers: int, allow_subset: bool) -> int:
    """Prepare the data set; return the number of files written.

    Raises:
        DataError: files are missing or damaged, or their number is not the official one.
    """
    written = unpack(root / "dataset-master.zip", root, inside="dataset-master")
    names = read_split(root / "train_test_split.yaml")
    missing = {name: files for split in IMAGES for name in names[split] if (files := list_missing(root, name))}
    if missing and not allow_subset:
        raise DataError(f"{next(iter(missing.values()))[0]}: there is no such file; {HOW_TO_GET}")
    splits = {split: [name for name in names[split] if name not in missing] for split in IMAGES}
    counts = {f"{split} images with annotations": (len(splits[split]), IMAGES[split]) for split in IMAGES}
    check_counts(root, counts, HOW_TO_GET, allow_subset=allow_subset)
    for split, found in splits.items():
        json_file = get_panoptic_json(root, split)
        labels = [
            Label(root / split / f"{n}.png", list_sources(root, n)[1:], json_file.with_suffix("") / f"{n}.png")
            for n in found
        ]
        images = [(list_sources(root, name)[0], label.image) for name, label in zip(found, labels)]
        written += write_images(images, read_half, workers, f"{split}: images")
        written += write_panoptic_files(
            json_file, labels, merge_plants, CATEGORIES, ids_per_category=IDS, workers=workers
        )
    return written


def read_split(file: Path) -> dict[str, list[str]]:
    """Return the names of the images of each split, such as "001"."""
    if not file.is_file():
        raise DataError(f"{file}: there is no such file; {HOW_TO_GET}")
    content = read_yaml(file)
    try:
        return {split: [f"{int(number):03d}" for number in content[split]] for split in IMAGES}
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{file}: expected the numbers of images under {' and '.join(IMAGES)}") from None


def list_sources(root: Path, name: str) -> tuple[Path, Path, Path]:
    """Return the image, the colors and the polygons of a name."""
    annotation = root / "annotations" / f"{name}_annotation"
    return root / "images" / f"{name}_image.png", annotation.with_suffix(".png"), annotation.with_suffix(".yaml")


def list_missing(root: Path, name: str) -> list[Path]:
    return [file for file in list_sources(root, name) if not file.is_file()]


def read_half(file: Path) -> np.ndarray:
    """Return an image (H, W, 3) at half size, each pixel the mean of four."""
    image = read_image(file, "RGB")
    return cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)


def merge_plants(color_file: Path, polygon_file: Path) -> np.ndarray:
    """Merge the colors and the polygons of an image (H, W) to (H / 2, W / 2) int32 segment ids, 0 = void."""
    colors = read_panoptic_ids(color_file)
    if unknown := np.setdiff1d(colors, list(COLORS)).tolist():
        raise DataError(f"{color_file}: colors must be black, green and red, got R + 256 G + 65536 B = {unknown[:5]}")
    size = colors.shape
    colors = colors[::2, ::2]
    ids = np.where(colors == 0, (ID_OF["soil"] + 1) * IDS, 0).astype(np.int32)
    polygons = read_polygons(polygon_file)
    for color, name in COLORS.items():
        of_class = colors == color
        plants = np.zeros(size, dtype=np.int32)
        for number in reversed(range(len(polygons))):  # the first one is drawn last
            kind, points = polygons[number]
            if kind == name:
                cv2.fillPoly(plants, [points], (ID_OF[name] + 1) * IDS + number)
        plants = np.where(of_class, plants[::2, ::2], 0)
        if plants.any():
            nearest = ndimage.distance_transform_edt(plants == 0, return_distances=False, return_indices=True)
            ids[of_class] = plants[tuple(nearest)][of_class]
    return ids


def read_polygons(file: Path) -> list[tuple[str, np.ndarray]]:
    """Return type and (N, 2) int32 points x, y of each polygon; those of a single point are left out."""
    try:
        entries: list[dict[str, Any]] = read_yaml(file)["annotation"]
        found = [(str(entry["type"]), entry["points"]["x"], entry["points"]["y"]) for entry in entries]
        if unknown := {kind for kind, _, _ in found} - set(COLORS.values()):
            raise ValueError(f"expected the types {', '.join(COLORS.values())}, got {min(unknown)!r}")
        return [(kind, round_points(x, y)) for kind, x, y in found if not isinstance(x, int | float)]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: not polygons of this data set: {type(error).__name__}: {error}") from None


def round_points(x: Any, y: Any) -> np.ndarray:
    """Return lists of coordinates as (N, 2) int32; raises ValueError or TypeError for anything else."""
    points = np.stack([np.array(values, dtype=np.float64) for values in (x, y)], axis=-1)
    if points.ndim != 2 or not len(points) or not (np.abs(points) < FARTHEST).all():
        raise ValueError(f"expected lists of coordinates, got x = {x!r:.40}, y = {y!r:.40}")
    return np.round(points).astype(np.int32)


def main(arguments: Sequence[str] | None = None) -> None:
    run_script(prepare, get_datasets_root() / "cropweed", __doc__, arguments)


if __name__ == "__main__":
    main()
