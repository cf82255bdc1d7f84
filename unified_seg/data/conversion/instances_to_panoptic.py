"""COCO's panoptic format from COCO's instances and semantic label maps.

Things come from the instances, stuff from the semantic maps; a pixel in an instance belongs to the instance, whatever
its class in the semantic map. H, W = an image; K = classes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_util
from scipy.ndimage import find_objects

from unified_seg.data.coco.categories import (
    build_class_table,
    match_categories,
    read_classes,
    remove_root_category,
    to_coco_categories,
)
from unified_seg.data.coco.masks import convert_to_rle
from unified_seg.data.coco.prediction_files import ImageInfo, find_semantic_maps, read_images, read_semantic_map
from unified_seg.data.coco.records import ImageId, MaskEntry, find_thing_id, match_image_id
from unified_seg.data.coco.rle import decode_window
from unified_seg.data.conversion.paths import check_apart
from unified_seg.data.io.file_system import resolve_below
from unified_seg.data.io.image_files import read_image_size
from unified_seg.data.io.label_files import write_png
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.io.semantic_labels import PixelValues
from unified_seg.data.io.text_files import read_json_object, write_json
from unified_seg.data.io.typed_records import Json, Notes, convert_record, iterate_records
from unified_seg.data.problems import DataError, RecordError, SizeError
from unified_seg.structures.class_table import ClassTable, SegmentClass

# Which of overlapping instances is in front: the smaller one, or the later one in the file.
ORDERS = ("area", "file")


class Instance(NamedTuple):
    """An annotation of an image.

    Attributes:
        cls: its class, a thing.
        is_crowd: it is a group of its class.
        is_ignored: it is a crowd of an unknown class, "ignore" in the file.
        segmentation: its mask as in the file, not yet checked.
        where: file and record, for errors.
    """

    cls: SegmentClass
    is_crowd: bool
    segmentation: Any
    where: str
    is_ignored: bool = False


class Panoptic(NamedTuple):
    """An image in COCO's panoptic format.

    Attributes:
        ids: (H, W) int32, segment ids, 0 = void.
        segments: segments_info: id, category_id, area, bbox (x, y, width, height in pixels), iscrowd.
        hidden: instances, and crowds, without a visible pixel.
        uncovered: pixels of a thing class in the semantic map without an instance; they are void.
    """

    ids: np.ndarray
    segments: list[Json]
    hidden: int
    uncovered: int


class Summary(NamedTuple):
    """Counts of a data set: images, segments and pixels; hidden and uncovered, see `Panoptic`."""

    images: int
    segments: int
    pixels: int
    hidden: int
    uncovered: int


def convert_to_panoptic(
    instances_file: Path,
    semantic_root: Path,
    output: Path,
    *,
    classes_file: Path | None = None,
    image_root: Path | None = None,
    order: str = "area",
    workers: int = 1,
) -> Summary:
    """Write panoptic.json and panoptic/*.png, which DATASETS.CUSTOM reads as PANOPTIC.

    Args:
        instances_file: COCO's instance JSON; an image without annotations is one without instances.
        semantic_root: the semantic PNG of each image, with the image's name, in its sub-folder or in none. Values are
            ids of categories; 255, and 0 unless it is a category, are void.
        output: the folder to write to.
        classes_file: see `read_classes`; None: the categories of the instance JSON, which must then have stuff.
        image_root: the images; None: their existence and size is not checked.
        order: of ORDERS.
        workers: processes.

    Raises:
        DataError: the first thing that is wrong, with file, record and cause; no JSON is written then.
    """
    json_file, png_root = output / "panoptic.json", output / "panoptic"
    check_apart([json_file, png_root], [instances_file, semantic_root, classes_file, image_root])
    images = read_images(instances_file)
    content = read_json_object(instances_file)
    table = _read_classes(instances_file, content, classes_file)
    try:
        values = PixelValues.from_table(table, "dataset")
    except DataError as error:
        raise DataError(f"{classes_file or instances_file}: {error}") from None
    semantic = find_semantic_maps(semantic_root, images)
    instances = _read_instances(instances_file, content, images, table)
    convert = partial(_convert_image, table=table, values=values, order=order, image_root=image_root, png_root=png_root)
    items = [(image, semantic[image.id], instances[image.id]) for image in images]
    json_file.unlink(missing_ok=True)  # that of other PNGs, if this ends early
    made = map_in_parallel(convert, items, workers, "panoptic")
    result = {
        "images": [{"id": i.id, "file_name": i.file_name, "height": i.size[0], "width": i.size[1]} for i in images],
        "annotations": [
            {"image_id": image.id, "file_name": image.png, "segments_info": segments}
            for image, (segments, _, _) in zip(images, made)
        ],
        "categories": to_coco_categories(table.classes),
    }
    write_json(json_file, result, indent=None)
    return Summary(
        images=len(images),
        segments=sum(len(segments) for segments, _, _ in made),
        pixels=sum(image.size[0] * image.size[1] for image in images),
        hidden=sum(hidden for _, hidden, _ in made),
        uncovered=sum(uncovered for _, _, uncovered in made),
    )


def draw_panoptic(
    labels: np.ndarray,
    instances: Sequence[Instance],
    table: ClassTable,
    order: str = "area",
    ignored: np.ndarray | None = None,
) -> Panoptic:
    """Draw instances over the stuff of a semantic map.

    Crowds are behind all other instances, and those of one class are one segment. COCO's files do not have the order of
    overlapping instances. By default the smaller one is in front: a tie on a person, a person before a bus; behind
    the larger one it could be hidden. Of equal ones the later one in the file is in front.

    Args:
        labels: (H, W) semantic ids and the ignore label.
        instances: N; the k-th has the segment id k, counted from 1, a crowd that of the first crowd of its class.
        table: the classes; a stuff class has the segment id N + 1 + its semantic id.
        order: of ORDERS.
        ignored: (H, W) bool, pixels that are void whatever is drawn there.

    Raises:
        DataError: an invalid mask, see `convert_to_rle`.
    """
    rles = [convert_to_rle(i.segmentation, labels.shape, f"{i.where}: segmentation") for i in instances]
    areas = [int(mask_util.area(rle)) if order == "area" else 0 for rle in rles]
    crowds: dict[SegmentClass, int] = {}
    segment_ids = [crowds.setdefault(i.cls, n) if i.is_crowd else n for n, i in enumerate(instances, start=1)]
    classes = {segment_id: instance.cls for segment_id, instance in zip(segment_ids, instances)}
    stuff = {len(instances) + 1 + cls.semantic_id: cls for cls in table.classes if not cls.is_thing}
    segment_of = np.zeros(table.ignore_label + 1, dtype=np.int32)
    segment_of[[cls.semantic_id for cls in stuff.values()]] = list(stuff)
    ids = segment_of[labels]
    # From back to front, each over those before it.
    for index in sorted(range(len(instances)), key=lambda i: (not instances[i].is_crowd, -areas[i], i)):
        rows, columns, mask = decode_window(rles[index])
        ids[rows, columns][mask] = segment_ids[index]
    if ignored is not None:
        ids[ignored] = 0
    segments = _describe_segments(ids, {**classes, **stuff}, set(crowds.values()))
    visible = {segment["id"] for segment in segments}
    hidden = len(classes.keys() - visible)
    uncovered = int(((ids == 0) & (labels != table.ignore_label)).sum())
    return Panoptic(ids, segments, hidden, uncovered)


def _describe_segments(ids: np.ndarray, classes: Mapping[int, SegmentClass], crowds: set[int]) -> list[Json]:
    areas = np.bincount(ids.ravel())
    segments = []
    for segment_id, window in enumerate(find_objects(ids), start=1):
        if window is not None:
            rows, columns = window
            box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
            segment = {"id": segment_id, "category_id": classes[segment_id].dataset_id}
            is_crowd = int(segment_id in crowds)
            segments.append({**segment, "area": int(areas[segment_id]), "bbox": box, "iscrowd": is_crowd})
    return segments


def _read_classes(instances_file: Path, content: Json, classes_file: Path | None) -> ClassTable:
    """Return the classes, of which some are stuff."""
    if classes_file:
        table = read_classes(classes_file)
    else:
        table = build_class_table(instances_file, remove_root_category(instances_file, content))
    if len(table.things) == len(table.classes):
        raise DataError(
            f"{classes_file or instances_file}: all its classes are things; --classes must name a file of things "
            "and of the stuff in the semantic maps"
        )
    return table


def _read_instances(
    file: Path, content: Json, images: Sequence[ImageInfo], table: ClassTable
) -> dict[ImageId, list[Instance]]:
    """Return the annotations by image id; masks are not yet checked."""
    known = {image.id for image in images}
    classes = match_categories(file, content, table, allow_other_names=False)
    notes = Notes()
    instances: dict[ImageId, list[Instance]] = defaultdict(list)
    for where, record in iterate_records(file, content.get("annotations"), "annotations"):
        try:
            entry = convert_record(record, MaskEntry, notes, where)
            image_id = match_image_id(entry.image_id, known)
            where = f"{where} (image {image_id!r})"
            cls = table.things[find_thing_id(entry.category_id, classes)]
            is_ignored = bool(entry.iscrowd and entry.ignore)
            instance = Instance(cls, bool(entry.iscrowd), entry.segmentation, f"{file}: {where}", is_ignored)
        except RecordError as error:
            raise DataError(f"{file}: {where}: {error}") from None
        instances[image_id].append(instance)
    notes.log(file)
    return instances


def _convert_image(
    item: tuple[ImageInfo, Path, list[Instance]],
    *,
    table: ClassTable,
    values: PixelValues,
    order: str,
    image_root: Path | None,
    png_root: Path,
) -> tuple[list[Json], int, int]:
    """Write the PNG of an image; return its segments, and the numbers of hidden instances and uncovered pixels."""
    image, semantic_file, instances = item
    if image_root is not None:
        _check_image(image, image_root)
    # Read before the masks, so that no mask is larger than a real PNG.
    labels = read_semantic_map(semantic_file, image, values).numpy()
    for instance in (i for i in instances if i.is_ignored):
        rle = convert_to_rle(instance.segmentation, labels.shape, f"{instance.where}: segmentation")
        labels[mask_util.decode(rle).astype(bool)] = table.ignore_label
    instances = [i for i in instances if not i.is_ignored]
    ids, segments, hidden, uncovered = draw_panoptic(labels, instances, table, order)
    write_png(image.resolve_output_png(png_root), ids)
    return segments, hidden, uncovered


def _check_image(image: ImageInfo, root: Path) -> None:
    try:
        path = resolve_below(root, image.file_name)
    except RecordError as error:
        raise DataError(f"image {image.id!r}: its {error}") from None
    height, width = read_image_size(path)
    if (height, width) != image.size:
        expected = f"{image.size[0]}x{image.size[1]}"
        raise SizeError(f"{path}: {height}x{width} pixels, but {expected} in its annotations (height x width)")
