"""Predictions on disk, of anybody's model: COCO's list of instance results, and a PNG of class ids for each image.

Every error is a DataError that names the file, the record and the cause. H, W = an image.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pycocotools import mask as mask_util

from unified_seg.data.coco.masks import convert_to_rle
from unified_seg.data.coco.records import DetectionEntry, ImageId, find_thing_id, read_image_entries
from unified_seg.data.io.file_system import resolve_below
from unified_seg.data.io.image_files import read_label
from unified_seg.data.io.semantic_labels import PixelValues, to_semantic_ids
from unified_seg.data.io.text_files import read_json, read_json_object
from unified_seg.data.io.typed_records import convert_record, iterate_records
from unified_seg.data.problems import DataError, RecordError
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable


class ImageInfo(NamedTuple):
    """An image that there are predictions of.

    Attributes:
        id, file_name: as in the JSON.
        png: its file_name with the suffix .png, which its label maps have.
        size: (H, W).
    """

    id: ImageId
    file_name: str
    png: str
    size: tuple[int, int]

    def png_in(self, folder: Path) -> Path:
        """The image's PNG below a folder; raises DataError for a name that leads out of it."""
        try:
            return resolve_below(folder, self.png)
        except RecordError as error:
            raise DataError(f"image {self.id!r}: its {error}") from None


class Detection(NamedTuple):
    """An instance result.

    Attributes:
        record: as in the JSON, checked but for its mask.
        thing_id: its class.
        where: names it in errors.
    """

    record: dict[str, Any]
    thing_id: int
    where: str


def read_images(path: Path) -> list[ImageInfo]:
    """The `images` (id, file_name, height, width) of a COCO annotation or image info file.

    Raises:
        DataError: not such a file, no image, or two with one id or one name of a PNG.
    """
    by_png: dict[str, ImageInfo] = {}
    for entry in read_image_entries(path, read_json_object(path)).values():
        try:
            png = Path(entry.file_name).with_suffix(".png").as_posix()
        except ValueError as error:
            raise DataError(f"{path}: file_name {entry.file_name!r} names no file: {error}") from None
        if png in by_png:
            raise DataError(f"{path}: {entry.file_name} and {by_png[png].file_name} would both be {png}")
        by_png[png] = ImageInfo(entry.id, entry.file_name, png, entry.size)
    if not by_png:
        raise DataError(f"{path}: no image in it")
    return list(by_png.values())


def read_detections(path: Path, images: Sequence[ImageInfo], table: ClassTable) -> Mapping[ImageId, list[Detection]]:
    """COCO's instance results (image_id, category_id, score, segmentation), by image id.

    Images without a detection are left out; masks are read, and checked, by `read_masks`.

    Raises:
        DataError: not such a file, an image or thing class that is unknown, or a score that is no finite number.
    """
    detections: dict[ImageId, list[Detection]] = {}
    known = {image.id for image in images}
    for name, record in iterate_records(path, read_json(path)):
        where = f"{path}: {name}"
        try:
            entry = convert_record(record, DetectionEntry)
            if entry.image_id not in known:
                raise RecordError(f"its image id {entry.image_id!r} is not among the images")
            where = f"{where} (image {entry.image_id!r})"
            thing_id = find_thing_id(entry.category_id, table)
        except RecordError as error:
            raise DataError(f"{where}: {error}") from None
        detections.setdefault(entry.image_id, []).append(Detection(record, thing_id, where))
    return detections


def read_masks(detections: Sequence[Detection], image_size: tuple[int, int], score_threshold: float) -> BoxMasks:
    """The masks of an image's detections, each inside its tight window.

    Args:
        detections: N.
        image_size: (H, W), of a real image: a mask of that many pixels is made.
        score_threshold: masks of lower scores are checked but stay empty: they are most, and no fusion looks at them.

    Raises:
        DataError: as `convert_to_rle`.
    """
    windows, masks = [], []
    for detection in detections:
        rle = convert_to_rle(detection.record.get("segmentation"), image_size, f"{detection.where}: segmentation")
        window, mask = (0, 0, 0, 0), np.zeros((0, 0), dtype=bool)
        if detection.record["score"] >= score_threshold:
            x, y, width, height = (int(v) for v in mask_util.toBbox(rle))
            window = (x, y, x + width, y + height)
            mask = mask_util.decode(rle)[y : y + height, x : x + width]
        windows.append(window)
        masks.append(torch.from_numpy(np.ascontiguousarray(mask, dtype=bool)))
    return BoxMasks(torch.tensor(windows, dtype=torch.int64).reshape(-1, 4), masks, image_size)


def find_semantic(folder: Path, images: Sequence[ImageInfo]) -> dict[ImageId, Path]:
    """The PNG of each image: in the same sub-folder as the image, or in none where its name is unique without it.

    Raises:
        DataError: an image without one, or with a name that leads out of the folder.
    """
    names = Counter(Path(image.png).name for image in images)
    found = {}
    for image in images:
        path = image.png_in(folder)
        flat = folder / path.name
        found[image.id] = flat if names[path.name] == 1 and flat.is_file() and not path.is_file() else path
        if not found[image.id].is_file():
            raise DataError(f"{path}: there is no such file, the semantic map of image {image.id!r}")
    return found


def read_semantic(path: Path, image: ImageInfo, values: PixelValues) -> torch.Tensor:
    """(H, W) int32 semantic ids; void is the ignore label.

    Raises:
        DataError: as `read_label`, or a PNG of another size than its image, or with a value that means nothing.
    """
    pixels = read_label(path)
    if pixels.shape != image.size:
        raise DataError(f"{path}: {pixels.shape} pixels, but its image has {image.size} (height, width)")
    return torch.from_numpy(to_semantic_ids(pixels, values.to_semantic, str(path)))
