"""Predictions of any model in files: COCO's list of instance results, and a PNG of class ids for each image.

Every error is a DataError that names the file, the record and the cause. H, W = an image.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from unified_seg.data.coco.masks import convert_to_rle
from unified_seg.data.coco.records import DetectionEntry, ImageId, find_thing_id, match_image_id, read_image_entries
from unified_seg.data.coco.rle import decode_window
from unified_seg.data.io.file_system import normalize_name, resolve_below, resolve_output_below
from unified_seg.data.io.label_files import check_size, read_label
from unified_seg.data.io.semantic_labels import PixelValues, to_semantic_ids
from unified_seg.data.io.text_files import read_json, read_json_object
from unified_seg.data.io.typed_records import Notes, convert_record, iterate_records
from unified_seg.data.problems import DataError, RecordError
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable


class ImageInfo(NamedTuple):
    """An image with predictions.

    Attributes:
        id, file_name: as in the JSON.
        png: the name of its semantic map, its file_name with the suffix .png.
        size: (H, W).
    """

    id: ImageId
    file_name: str
    png: str
    size: tuple[int, int]

    def resolve_png(self, folder: Path) -> Path:
        """Return the path of the image's PNG below a folder; raises DataError for a name that leads out of it."""
        return self._resolve(resolve_below, folder)

    def resolve_output_png(self, folder: Path) -> Path:
        """Return the path of a PNG to write; raises DataError for a name or a link that leads out of the folder."""
        return self._resolve(resolve_output_below, folder)

    def _resolve(self, resolve: Callable[[Path, str], Path], folder: Path) -> Path:
        try:
            return resolve(folder, self.png)
        except RecordError as error:
            raise DataError(f"image {self.id!r}: its {error}") from None


class Detection(NamedTuple):
    """An instance result.

    Attributes:
        record: as in the JSON; all but its mask is checked.
        thing_id: its class.
        where: file and record, for errors.
    """

    record: dict[str, Any]
    thing_id: int
    where: str


def read_images(path: Path) -> list[ImageInfo]:
    """Return the `images` (id, file_name, height, width) of a COCO annotation or image info file.

    Raises:
        DataError: not such a file, no image, or two images with one id or one name of a PNG.
    """
    by_png: dict[str, ImageInfo] = {}
    for entry in read_image_entries(path, read_json_object(path)).by_id.values():
        try:
            png = Path(normalize_name(entry.file_name)).with_suffix(".png").as_posix()
        except ValueError as error:
            raise DataError(f"{path}: file_name {entry.file_name!r} names no file: {error}") from None
        if png in by_png:
            raise DataError(f"{path}: {entry.file_name} and {by_png[png].file_name} would both have the PNG {png}")
        by_png[png] = ImageInfo(entry.id, entry.file_name, png, entry.size)
    if not by_png:
        raise DataError(f"{path}: no image in it")
    return list(by_png.values())


def read_detections(path: Path, images: Sequence[ImageInfo], table: ClassTable) -> Mapping[ImageId, list[Detection]]:
    """Return COCO's instance results (image_id, category_id, score, segmentation) by image id.

    Images without a detection are left out; `read_masks` reads and checks the masks.

    Raises:
        DataError: not such a file, an unknown image or thing class, or a score that is not a finite number.
    """
    detections: dict[ImageId, list[Detection]] = {}
    known = {image.id for image in images}
    notes = Notes()
    for name, record in iterate_records(path, read_json(path)):
        where = f"{path}: {name}"
        try:
            entry = convert_record(record, DetectionEntry, notes, name)
            image_id = match_image_id(entry.image_id, known)
            where = f"{where} (image {image_id!r})"
            thing_id = find_thing_id(entry.category_id, table.by_dataset_id)
        except RecordError as error:
            raise DataError(f"{where}: {error}") from None
        checked = {**record, "image_id": image_id, "category_id": entry.category_id, "score": entry.score}
        detections.setdefault(image_id, []).append(Detection(checked, thing_id, where))
    notes.log(path)
    return detections


def read_masks(detections: Sequence[Detection], image_size: tuple[int, int], score_threshold: float) -> BoxMasks:
    """Return the masks of an image's detections, each in its tight box.

    Args:
        detections: N.
        image_size: (H, W).
        score_threshold: masks of lower scores are checked but stay empty: they are most, and no fusion uses them.

    Raises:
        DataError: see `convert_to_rle`.
    """
    windows, masks = [], []
    for detection in detections:
        rle = convert_to_rle(detection.record.get("segmentation"), image_size, f"{detection.where}: segmentation")
        window, mask = (0, 0, 0, 0), np.zeros((0, 0), dtype=bool)
        if detection.record["score"] >= score_threshold:
            rows, columns, mask = decode_window(rle)
            window = (columns.start, rows.start, columns.stop, rows.stop)
        windows.append(window)
        masks.append(torch.from_numpy(mask))
    return BoxMasks(torch.tensor(windows, dtype=torch.int64).reshape(-1, 4), masks, image_size)


def find_semantic_maps(folder: Path, images: Sequence[ImageInfo]) -> dict[ImageId, Path]:
    """Return the PNG of each image: in the same sub-folder as the image or, if its name is unique, without sub-folder.

    Raises:
        DataError: an image without a PNG, or with a name that leads out of the folder.
    """
    names = Counter(Path(image.png).name for image in images)
    found = {}
    for image in images:
        path = image.resolve_png(folder)
        flat = folder / path.name
        found[image.id] = flat if names[path.name] == 1 and flat.is_file() and not path.is_file() else path
        if not found[image.id].is_file():
            raise DataError(f"{path}: there is no such file, the semantic map of image {image.id!r}")
    return found


def read_semantic_map(path: Path, image: ImageInfo, values: PixelValues) -> torch.Tensor:
    """Return (H, W) int32 semantic ids; void is the ignore label.

    Raises:
        DataError: see `read_label`; also a PNG of another size than its image, or a value without a meaning.
    """
    pixels = check_size(read_label(path), image.size, path)
    return torch.from_numpy(to_semantic_ids(pixels, values.to_semantic, str(path)))
