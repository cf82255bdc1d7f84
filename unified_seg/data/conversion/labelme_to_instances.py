"""COCO's instance format from labelme's drawings (https://github.com/wkentaro/labelme).

H, W = an image.
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct
from pycocotools import mask as mask_util

from unified_seg.data.coco.categories import build_class_table, read_classes, to_coco_categories
from unified_seg.data.coco.masks import MAX_DISTANCE, convert_to_rle
from unified_seg.data.coco.records import check_image_size
from unified_seg.data.conversion.paths import check_apart, find_files
from unified_seg.data.io.file_system import normalize_name, resolve_below
from unified_seg.data.io.image_files import read_image_size
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.io.text_files import read_json_object, write_json
from unified_seg.data.io.typed_records import Json, convert_record, iterate_records
from unified_seg.data.problems import DataError, RecordError, SizeError
from unified_seg.structures.class_table import ClassTable

# The largest distance from a circle to the polygon that replaces it, in pixels.
CIRCLE_ERROR = 0.25

Point = tuple[float, float]


class Drawing(Struct, frozen=True):
    """The content of a labelme file; `shapes` is a list of `Shape`."""

    imageHeight: int
    imageWidth: int
    imagePath: str
    shapes: Any = None


class Shape(Struct, frozen=True):
    """A drawn shape; old files have polygons without a type."""

    label: str
    points: list[Point]
    shape_type: str = "polygon"
    group_id: int | None = None


class DrawnInstance(NamedTuple):
    """The shapes of one instance.

    Attributes:
        label: the name of its class.
        polygons: of its parts, [x, y, x, y, ...] in pixels.
        area: its pixels in the image.
        box: x, y, width, height of these pixels.
        where: file and record, for errors.
    """

    label: str
    polygons: list[list[float]]
    area: int
    box: list[float]
    where: str


class DrawnImage(NamedTuple):
    """A labelme file.

    Attributes:
        file_name: of the image, relative to the folder.
        size: (H, W).
        instances: also those without a pixel in the image.
    """

    file_name: str
    size: tuple[int, int]
    instances: list[DrawnInstance]


class Summary(NamedTuple):
    """Counts of a folder: images, instances, instances left out because no pixel is in their image, and classes."""

    images: int
    instances: int
    hidden: int
    classes: int


def convert_labelme(source: Path, output: Path, *, classes_file: Path | None = None, workers: int = 1) -> Summary:
    """Write a COCO instance JSON of the labelme files of a folder, which DATASETS.CUSTOM reads as INSTANCES.

    Polygons, rectangles and circles are read; shapes of one label and group_id are one instance. Image names are
    relative to the folder.

    Args:
        source: the folder, sub-folders included; every .json in it must be a labelme file.
        output: the JSON file to write.
        classes_file: see `read_classes`; None: the labels that occur, in alphabetical order, with ids from 1.
        workers: processes.

    Raises:
        DataError: the first thing that is wrong, with file, record and cause.
    """
    check_apart([output], [source, classes_file])
    files = find_files(source, (".json",))
    drawn = map_in_parallel(partial(read_labelme, root=source), files, workers, "labelme")
    _check_images(files, drawn)
    table = read_classes(classes_file) if classes_file else _make_classes(source, drawn)
    category_ids = _match_labels(drawn, table, classes_file)
    images: list[Json] = []
    annotations: list[Json] = []
    for image_id, image in enumerate(drawn, start=1):
        height, width = image.size
        images.append({"id": image_id, "file_name": image.file_name, "height": height, "width": width})
        for instance in (one for one in image.instances if one.area):
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category_ids[instance.label]}
            mask = {"segmentation": instance.polygons, "area": instance.area, "bbox": instance.box, "iscrowd": 0}
            annotations.append({**annotation, **mask})
    categories = to_coco_categories(table.things)
    write_json(output, {"images": images, "annotations": annotations, "categories": categories}, indent=None)
    every = sum(len(image.instances) for image in drawn)
    return Summary(len(images), len(annotations), every - len(annotations), len(categories))


def read_labelme(path: Path, root: Path) -> DrawnImage:
    """Return the content of a labelme file, without the image that it may have as imageData.

    Args:
        path: the file, in the folder `root`.
        root: the folder to which image names are relative.

    Raises:
        DataError: not such a file, an imagePath that leads out of the folder or to an image of another size, or a shape
            without an area. The image need not exist.
    """
    try:
        drawing = convert_record(read_json_object(path), Drawing)
        size = drawing.imageHeight, drawing.imageWidth
        check_image_size(*size)
        file_name = _resolve_image_name(drawing.imagePath, path, root)
    except RecordError as error:
        raise DataError(f"{path}: {error}") from None
    image = root / file_name
    if image.is_file() and read_image_size(image) != size:
        found = read_image_size(image)
        raise SizeError(
            f"{path}: {size[0]}x{size[1]} pixels, its image {image} has {found[0]}x{found[1]} (height x width)"
        )
    return DrawnImage(file_name, size, _join_shapes(path, drawing.shapes, size))


def _resolve_image_name(image_path: str, path: Path, root: Path) -> str:
    """Return the image's name relative to the root; labelme's is relative to its file, on Windows with backslashes."""
    try:
        image = resolve_below(root, str(path.parent.relative_to(root) / normalize_name(image_path)))
    except RecordError as error:
        raise RecordError(f"imagePath: {error}") from None
    return image.relative_to(root).as_posix()


def _join_shapes(path: Path, shapes: Any, size: tuple[int, int]) -> list[DrawnInstance]:
    """Return the instances in the order of the file; shapes of one label and group_id are one instance."""
    parts: dict[tuple[Any, ...], list[list[float]]] = {}
    places: dict[tuple[Any, ...], str] = {}
    for index, (where, record) in enumerate(iterate_records(path, shapes, "shapes")):
        try:
            shape = convert_record(record, Shape)
            key = (shape.label, "shape", index) if shape.group_id is None else (shape.label, "group", shape.group_id)
            parts.setdefault(key, []).append(convert_to_polygon(shape, size))
        except RecordError as error:
            raise DataError(f"{path}: {where}: {error}") from None
        places.setdefault(key, f"{path}: {where}")
    instances = []
    for key, polygons in parts.items():
        rle = convert_to_rle(polygons, size, places[key])
        box = mask_util.toBbox(rle).tolist()
        instances.append(DrawnInstance(key[0], polygons, int(mask_util.area(rle)), box, places[key]))
    return instances


def convert_to_polygon(shape: Shape, size: tuple[int, int]) -> list[float]:
    """Return a shape as a polygon [x, y, x, y, ...], in pixels.

    Args:
        shape: its points are the corners of a polygon, two opposite ones of a rectangle, or the center of a circle and
            a point on it.
        size: (H, W).

    Raises:
        RecordError: another type, another number of points, or points far outside the image.
    """
    kind, points = shape.shape_type, shape.points
    farthest = MAX_DISTANCE * max(size)
    for point in points:
        if not all(-farthest <= value <= farthest for value in point):  # NaN is not
            raise RecordError(f"the point {list(point)!r:.80} is far outside the image")
    if kind == "polygon":
        if len(points) < 3:
            raise RecordError(f"a polygon must have at least 3 points, got {len(points)}")
    elif kind not in ("rectangle", "circle"):
        raise RecordError(f"shape_type must be polygon, rectangle or circle, got {kind!r:.80}")
    elif len(points) != 2:
        raise RecordError(f"a {kind} must have 2 points, got {len(points)}")
    elif kind == "rectangle":
        (left, top), (right, bottom) = points
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    else:
        points = _approximate_circle(*points)
    return [value for point in points for value in point]


def _approximate_circle(center: Point, edge: Point) -> list[Point]:
    """Return corners on the circle, so many that the polygon's sides are within CIRCLE_ERROR of it."""
    radius = math.dist(center, edge)
    # The middle of a side is radius * cos(pi / corners) from the center.
    corners = max(12, math.ceil(math.pi / math.acos(1 - CIRCLE_ERROR / max(radius, CIRCLE_ERROR))))
    angles = (2 * math.pi * corner / corners for corner in range(corners))
    return [(center[0] + radius * math.cos(angle), center[1] + radius * math.sin(angle)) for angle in angles]


def _check_images(files: Sequence[Path], drawn: Sequence[DrawnImage]) -> None:
    seen: dict[str, Path] = {}
    for file, image in zip(files, drawn):
        if image.file_name in seen:
            raise DataError(f"{file}: its image {image.file_name} is also that of {seen[image.file_name]}")
        seen[image.file_name] = file


def _make_classes(folder: Path, drawn: Sequence[DrawnImage]) -> ClassTable:
    labels = sorted({instance.label for image in drawn for instance in image.instances})
    return build_class_table(folder, [{"id": index, "name": label} for index, label in enumerate(labels, start=1)])


def _match_labels(drawn: Sequence[DrawnImage], table: ClassTable, classes_file: Path | None) -> dict[str, int]:
    """Return the category id of each label."""
    classes = {cls.name: cls for cls in table.classes}
    for instance in (instance for image in drawn for instance in image.instances):
        if instance.label not in classes:
            raise DataError(f"{instance.where}: unknown label {instance.label!r}, which is not in {classes_file}")
        if not classes[instance.label].is_thing:
            raise DataError(f"{instance.where}: label {instance.label!r} is stuff in {classes_file}; expected a thing")
    return {cls.name: cls.dataset_id for cls in table.things}
