"""Image and label files like those of COCO and Cityscapes, written from Toyscapes scenes, and their records.

Toyscapes images are smoother than photographs, so noise brings the files to the usual size: about 170 kB for a JPEG of
COCO, 2.3 MB for a PNG of Cityscapes. Decoding takes time in proportion to it.
"""

import atexit
import json
import shutil
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.structures import BoxMode
from PIL import Image
from pycocotools import mask as mask_util

from toyscapes import make_scene, render_scene
from toyscapes.labels import encode_panoptic, make_label_maps
from unified_seg.data.coco.masks import decode_rle
from unified_seg.structures.class_table import ClassTable

from .inputs import PRESET

SEED = 0
Record = dict[str, Any]


class Kind(NamedTuple):
    """The files of a data set.

    Attributes:
        size: (height, width) of the images.
        suffix: of the images.
        noise: standard deviation of the noise that is added, in gray values.
        lengths: INPUT.MIN_SIZE_TRAIN, with the sampling "choice".
        max_size: INPUT.MAX_SIZE_TRAIN.
        crop: (height, width) of INPUT.CROP, "absolute"; None: no crop. With a crop masks are run lengths: to crop
            polygons Detectron2 needs Shapely.
    """

    size: tuple[int, int]
    suffix: str
    noise: float
    lengths: tuple[int, ...]
    max_size: int
    crop: tuple[int, int] | None = None


# The augmentations are those of Detectron2's configs: of Panoptic FPN on COCO and Panoptic-DeepLab on Cityscapes.
KINDS: Mapping[str, Kind] = {
    "coco": Kind((480, 640), ".jpg", 10.0, (640, 672, 704, 736, 768, 800), 1333),
    "cityscapes": Kind((1024, 2048), ".png", 0.0, tuple(range(512, 2049, 128)), 4096, (512, 1024)),
}


def toyscapes_table() -> ClassTable:
    """Return the classes of the scenes."""
    return ClassTable.from_metadata(MetadataCatalog.get("unified_toyscapes_train"))


@lru_cache(maxsize=1)
def make_folder() -> Path:
    """Return a folder that is removed when this process ends."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def provide_files(root: Path, kind: Kind, count: int) -> list[Record]:
    """Return what `write_files` returns; only the first call for a folder and a count writes the files."""
    stored = root / f"{count}.json"
    if not stored.is_file():
        root.mkdir(exist_ok=True)
        stored.write_text(json.dumps(write_files(root, kind, count)))
    return json.loads(stored.read_text())


def write_files(root: Path, kind: Kind, count: int, most_segments: int | None = None) -> list[Record]:
    """Write the files of the first scenes of Toyscapes into a folder.

    Args:
        root: an existing folder.
        kind: of the files.
        count: number of images.
        most_segments: the largest segments that panoptic PNGs have, the others are void there; None: all.

    Returns:
        Records with `pan_seg_file_name` and `segments_info`, with `sem_seg_file_name`, and with `annotations` of
        polygons: each reader uses the keys that it needs.
    """
    table = toyscapes_table()
    return [_write_scene(root, kind, index, table, most_segments) for index in range(count)]


def _write_scene(root: Path, kind: Kind, index: int, table: ClassTable, most_segments: int | None) -> Record:
    picture, polygons = render_scene(make_scene(PRESET, SEED, "train", index), kind.size)
    noise = np.random.default_rng(index).normal(0, kind.noise, picture.shape)
    maps = make_label_maps(polygons)
    colors, segments = encode_panoptic(maps.instance_ids)
    ids = colors.astype(np.int32) @ (1, 256, 65536)
    segments = sorted(segments, key=lambda segment: -segment["area"])[:most_segments]
    colors = np.where(np.isin(ids, [segment["id"] for segment in segments])[..., None], colors, np.uint8(0))
    files = [root / f"{index}{ending}" for ending in (kind.suffix, "_panoptic.png", "_semantic.png")]
    Image.fromarray((picture + noise).clip(0, 255).astype(np.uint8)).save(files[0], quality=92)
    Image.fromarray(colors).save(files[1])
    Image.fromarray(maps.train_ids).save(files[2])
    infos = [_describe(segment, table) for segment in segments]
    return {
        "file_name": str(files[0]),
        "image_id": index,
        "height": kind.size[0],
        "width": kind.size[1],
        "pan_seg_file_name": str(files[1]),
        "segments_info": infos,
        "sem_seg_file_name": str(files[2]),
        "annotations": [_annotate(ids == info["id"], info, kind) for info in infos if info["isthing"]],
    }


def _describe(segment: Mapping[str, Any], table: ClassTable) -> Record:
    cls = table.by_dataset_id[segment["category_id"]]
    return {
        "id": segment["id"],
        "category_id": cls.category_id,
        "isthing": cls.is_thing,
        "iscrowd": segment["iscrowd"],
        "area": segment["area"],
    }


def _annotate(mask: np.ndarray, info: Record, kind: Kind) -> Record:
    """Return an annotation of Detectron2's records, with the outlines of a mask as polygons, or its run lengths."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    polygons = [(outline.reshape(-1) + 0.5).tolist() for outline in outlines if len(outline) >= 3]
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    x, y = left + width / 2, top + height / 2
    return {
        "bbox": [left, top, width, height],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": info["category_id"],
        "iscrowd": info["iscrowd"],
        # A thin object without an outline of three points becomes a triangle.
        "segmentation": decode_rle(mask_util.encode(np.asfortranarray(mask, dtype=np.uint8)))
        if kind.crop
        else polygons or [[left, top, left + width, top, x, y]],
    }
