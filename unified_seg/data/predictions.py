"""Predictions on disk, of anybody's model: COCO's list of instance results, and a PNG of class ids for each image.

Every error is a DataError that names the file, the record and the cause. H, W = an image.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.utils.colormap import colormap
from pycocotools import mask as mask_util

from unified_seg.data.coco_masks import checked_rle
from unified_seg.data.json_file import read_json
from unified_seg.data.reading import DataError, read_label
from unified_seg.functional.box_masks import BoxMasks
from unified_seg.functional.class_table import IGNORE_LABEL, ClassTable, SegmentClass

# What the values of a semantic PNG may be: ids of the data set, or 0 .. K-1, the semantic ids.
ID_KINDS = ("dataset", "contiguous")
# Below all ids.
NO_CLASS = -1

ImageId = int | str


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
        path = folder / self.png
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"image {self.id!r}: its file_name {self.file_name!r} leads out of {folder}")
        return path


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


class PixelValues(NamedTuple):
    """What the values of semantic PNGs mean.

    Attributes:
        to_semantic: (V,) int32, the semantic id of each value, or the ignore label, or NO_CLASS.
        from_semantic: (ignore label + 1,) uint8 or uint16, the value of each semantic id and of the ignore label.
    """

    to_semantic: np.ndarray
    from_semantic: np.ndarray


def read_images(path: Path) -> list[ImageInfo]:
    """The `images` (id, file_name, height, width) of a COCO annotation or image info file.

    Raises:
        DataError: not such a file, no image, or two with one id or one name of a PNG.
    """
    content = read_json(path)
    by_id: dict[ImageId, ImageInfo] = {}
    by_png: dict[str, ImageInfo] = {}
    for where, record in _records(path, content.get("images") if isinstance(content, dict) else None):
        name = _field(where, record, "file_name", str)
        size = (_field(where, record, "height", int), _field(where, record, "width", int))
        try:
            png = Path(name).with_suffix(".png").as_posix()
            Path(png).resolve()
        except ValueError as error:
            raise DataError(f"{where}: file_name {name!r} names no file: {error}") from None
        image = ImageInfo(_field(where, record, "id", int, str), name, png, size)
        if image.id in by_id:
            raise DataError(f"{where}: the image id {image.id!r} is there twice")
        if png in by_png:
            raise DataError(f"{where}: {name} and {by_png[png].file_name} would both be {png}")
        by_id[image.id] = by_png[png] = image
    if not by_id:
        raise DataError(f"{path}: no image in it")
    return list(by_id.values())


def read_categories(path: Path, use_supercategories: bool) -> ClassTable:
    """The classes of COCO's panoptic categories (id, name, isthing, perhaps color and supercategory).

    Args:
        path: a JSON list of them, or an object that has it as `categories`.
        use_supercategories: classes of one supercategory are look-alikes; else each class has its category to itself.

    Returns:
        The classes; semantic ids and thing ids count in their order.

    Raises:
        DataError: not such a file, or categories that make no table.
    """
    content = read_json(path)
    records = _records(path, content.get("categories") if isinstance(content, dict) else content)
    names = [_field(where, record, "name", str) for where, record in records]
    # Two classes of one name are not one category.
    own = names if len(set(names)) == len(names) else [str(index) for index in range(len(names))]
    palette = colormap(rgb=True).astype(int).tolist()
    classes: list[SegmentClass] = []
    for index, (where, record) in enumerate(records):
        color = record.get("color", palette[index % len(palette)])
        if not isinstance(color, list) or len(color) != 3 or not all(channel in range(256) for channel in color):
            raise DataError(f"{where}: color must be three numbers 0 .. 255, got {color!r:.80}")
        things = sum(c.is_thing for c in classes)
        classes.append(
            SegmentClass(
                name=names[index],
                semantic_id=index,
                thing_id=things if _field(where, record, "isthing", int, bool) else None,
                dataset_id=_field(where, record, "id", int),
                category=_field(where, record, "supercategory", str) if use_supercategories else own[index],
                color=(int(color[0]), int(color[1]), int(color[2])),
            )
        )
    try:
        return ClassTable(classes)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def pixel_values(table: ClassTable, kind: str) -> PixelValues:
    """The meaning of the values of semantic PNGs.

    Args:
        table: the classes.
        kind: of ID_KINDS. Void is 255, and of dataset ids 0 too, where it is not the id of a class.

    Raises:
        DataError: the ids do not fit into a PNG, mean several classes, or leave none for void; or an ignore label that
            no label map can hold.
    """
    if kind not in ID_KINDS:
        raise ValueError(f"the kind of ids must be {' or '.join(ID_KINDS)}, got {kind!r}")
    if not 0 <= table.ignore_label <= 65535:
        raise DataError(f"the ignore label of the classes is {table.ignore_label}, it must be 0 .. 65535")
    semantic_of = {c.dataset_id if kind == "dataset" else c.semantic_id: c.semantic_id for c in table.classes}
    if kind == "dataset" and len(semantic_of) != table.num_semantic:
        raise DataError("dataset ids: several things share a semantic id, so PNGs can't hold the ids of the data set")
    if min(semantic_of) < 0 or max(semantic_of) > 65535:
        raise DataError(f"{kind} ids from {min(semantic_of)} to {max(semantic_of)}: a PNG holds 0 .. 65535")
    voids = [v for v in ((IGNORE_LABEL, 0) if kind == "dataset" else (IGNORE_LABEL,)) if v not in semantic_of]
    if not voids:
        raise DataError("dataset ids: 0 and 255 are classes, so none is left for void in PNGs")
    to_semantic = np.full(max(*semantic_of, *voids) + 1, NO_CLASS, dtype=np.int32)
    to_semantic[voids] = table.ignore_label
    from_semantic = np.full(table.ignore_label + 1, voids[0], dtype=np.uint8 if len(to_semantic) <= 256 else np.uint16)
    for value, semantic_id in semantic_of.items():
        to_semantic[value], from_semantic[semantic_id] = semantic_id, value
    return PixelValues(to_semantic, from_semantic)


def read_detections(path: Path, images: Sequence[ImageInfo], table: ClassTable) -> Mapping[ImageId, list[Detection]]:
    """COCO's instance results (image_id, category_id, score, segmentation), by image id.

    Images without a detection are left out; masks are read, and checked, by `read_masks`.

    Raises:
        DataError: not such a file, an image or thing class that is unknown, or a score that is no finite number.
    """
    detections: dict[ImageId, list[Detection]] = {}
    known = {image.id for image in images}
    for where, record in _records(path, read_json(path)):
        image_id = _field(where, record, "image_id", int, str)
        if image_id not in known:
            raise DataError(f"{where}: its image id {image_id!r} is not among the images")
        where = f"{where} (image {image_id!r})"
        if not abs(_field(where, record, "score", int, float)) < 1e300:  # NaN is not, nor an int beyond all floats
            raise DataError(f"{where}: its score is {record['score']!r:.80}")
        cls = table.by_dataset_id.get(_field(where, record, "category_id", int))
        if cls is None or cls.thing_id is None:
            what = "no class" if cls is None else f"{cls.name}, which is stuff"
            raise DataError(f"{where}: its category_id {record['category_id']} is {what}")
        detections.setdefault(image_id, []).append(Detection(record, cls.thing_id, where))
    return detections


def read_masks(detections: Sequence[Detection], image_size: tuple[int, int], score_threshold: float) -> BoxMasks:
    """The masks of an image's detections, each inside its tight window.

    Args:
        detections: N.
        image_size: (H, W), of a real image: a mask of that many pixels is made.
        score_threshold: masks of lower scores are checked but stay empty: they are most, and no fusion looks at them.

    Raises:
        DataError: as `checked_rle`.
    """
    windows, masks = [], []
    for detection in detections:
        rle = checked_rle(detection.record.get("segmentation"), image_size, f"{detection.where}: segmentation")
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
    known = (pixels >= 0) & (pixels < len(values.to_semantic))
    labels = values.to_semantic[np.where(known, pixels, 0)]
    wrong = ~known | (labels == NO_CLASS)
    if wrong.any():
        raise DataError(f"{path}: the values {np.unique(pixels[wrong])[:10].tolist()} are no class and not void")
    return torch.from_numpy(labels)


def _records(path: Path, records: Any) -> list[tuple[str, dict[str, Any]]]:
    """(its name in errors, record) of each record of a list."""
    if not isinstance(records, list):
        raise DataError(f"{path}: expected a list of records, got {type(records).__name__}")
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise DataError(f"{path}: record {index} is no object but {record!r:.80}")
    return [(f"{path}: record {index}", record) for index, record in enumerate(records)]


def _field(where: str, record: dict[str, Any], key: str, *kinds: type) -> Any:
    value = record.get(key)
    if type(value) not in kinds:  # exactly: True is no number here
        raise DataError(f"{where}: {key} must be {' or '.join(kind.__name__ for kind in kinds)}, got {value!r:.80}")
    return value
