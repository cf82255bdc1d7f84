"""COCO's instance format from labelme's drawings (https://github.com/wkentaro/labelme).

H, W = an image.
"""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from unified_seg.data.coco.categories import build_class_table, read_classes, to_coco_categories
from unified_seg.data.coco.records import check_image_size
from unified_seg.data.conversion.labelme_shapes import Drawing, DrawnInstance, read_shapes
from unified_seg.data.conversion.paths import check_apart, find_files
from unified_seg.data.io.file_system import resolve_below
from unified_seg.data.io.image_files import read_image_size
from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.io.text_files import read_json_object, write_json
from unified_seg.data.io.typed_records import Json, Notes, convert_record
from unified_seg.data.problems import DataError, RecordError, SizeError
from unified_seg.structures.class_table import ClassTable


class LabelmeFile(Struct, frozen=True):
    """The content of a labelme file; `shapes` is a list of `labelme_shapes.Shape`."""

    imagePath: str
    imageHeight: int | None = None
    imageWidth: int | None = None
    shapes: Any = None


class DrawnImage(NamedTuple):
    """A labelme file.

    Attributes:
        file_name: of the image, relative to the folder of images.
        size: (H, W).
        drawing: its shapes.
        notes: the values of an unusual type.
    """

    file_name: str
    size: tuple[int, int]
    drawing: Drawing
    notes: Notes

    @property
    def instances(self) -> list[DrawnInstance]:
        return self.drawing.instances


class Summary(NamedTuple):
    """Counts of a folder.

    Attributes:
        images: all.
        instances: written.
        hidden: instances left out because they have no pixel in their image.
        classes: all.
        ignored: images with a region `__ignore__`.
        skipped: shapes without an area that were left out, by type.
    """

    images: int
    instances: int
    hidden: int
    classes: int
    ignored: int
    skipped: dict[str, int]


def convert_labelme(
    source: Path,
    output: Path,
    *,
    classes_file: Path | None = None,
    image_root: Path | None = None,
    skip_shapes: bool = False,
    workers: int = 1,
) -> Summary:
    """Write a COCO instance JSON of the labelme files of a folder, which DATASETS.CUSTOM reads as INSTANCES.

    Polygons, rectangles, circles and masks are read; shapes of one label and group_id are one instance. Shapes with the
    label `_background_` are holes in the shapes before them. The shapes `__ignore__` of an image become a crowd of each
    class with "ignore": 1: predictions in it count neither as right nor as wrong.

    Args:
        source: the folder, sub-folders included; every .json in it must be a labelme file.
        output: the JSON file to write.
        classes_file: see `read_classes`; None: the labels that occur, in alphabetical order, with ids from 1.
        image_root: the folder to which the written image names are relative; None: `source`.
        skip_shapes: leave out and count points, lines and line strips; False: they are an error.
        workers: processes.

    Raises:
        DataError: the first thing that is wrong, with file, record and cause.
    """
    check_apart([output], [source, classes_file])
    drawn = read_folder(source, image_root, skip_shapes=skip_shapes, workers=workers)
    table = read_classes(classes_file) if classes_file else make_classes(source, drawn)
    check_labels(drawn, table, classes_file)
    _check_things(drawn, table, classes_file)
    content = make_instance_json(drawn, table)
    write_json(output, content, indent=None)
    visible = sum(bool(instance.area) for image in drawn for instance in image.instances)
    return Summary(
        images=len(drawn),
        instances=visible,
        hidden=sum(len(image.instances) for image in drawn) - visible,
        classes=len(content["categories"]),
        ignored=sum(image.drawing.ignored is not None for image in drawn),
        skipped=dict(sum((image.drawing.skipped for image in drawn), Counter())),
    )


def read_folder(
    source: Path, image_root: Path | None, *, skip_shapes: bool = False, workers: int = 1
) -> list[DrawnImage]:
    """Return the labelme files of a folder, sorted by name; values of an unusual type are logged.

    Args:
        source, image_root, skip_shapes, workers: see `convert_labelme`.

    Raises:
        DataError: see `read_labelme`; or two files of one image.
    """
    files = find_files(source, (".json",))
    read = partial(read_labelme, root=image_root or source, skip_shapes=skip_shapes)
    drawn = map_in_parallel(read, files, workers, "labelme")
    _check_images(files, drawn)
    notes = Notes()
    for file, image in zip(files, drawn):
        notes.merge(image.notes, file.relative_to(source).as_posix())
    notes.log(source)
    return drawn


def make_instance_json(drawn: Sequence[DrawnImage], table: ClassTable) -> Json:
    """Return the things of drawings in COCO's instance format; the ids of images count from 1 in their order.

    Args:
        drawn: the images.
        table: the classes, with all labels.
    """
    category_ids = {cls.name: cls.dataset_id for cls in table.things}
    images: list[Json] = []
    annotations: list[Json] = []
    for image_id, image in enumerate(drawn, start=1):
        height, width = image.size
        images.append({"id": image_id, "file_name": image.file_name, "height": height, "width": width})
        for instance in (one for one in image.instances if one.area and one.label in category_ids):
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category_ids[instance.label]}
            annotations.append({**annotation, **_describe_mask(instance), "iscrowd": 0})
        ignored = image.drawing.ignored
        if ignored is None or not ignored.area:
            continue
        for category_id in category_ids.values():
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category_id}
            annotations.append({**annotation, **_describe_mask(ignored), "iscrowd": 1, "ignore": 1})
    return {"images": images, "annotations": annotations, "categories": to_coco_categories(table.things)}


def _describe_mask(instance: DrawnInstance) -> Json:
    return {"segmentation": instance.segmentation, "area": instance.area, "bbox": instance.box}


def read_labelme(path: Path, root: Path, *, skip_shapes: bool = False) -> DrawnImage:
    """Return the content of a labelme file, without the image that it may have as imageData.

    Args:
        path: the file.
        root: the folder of the images, to which the name in the result is relative.
        skip_shapes: see `read_shapes`.

    Raises:
        DataError: not such a file, an imagePath that leads out of the folder or to an image of another size, or a wrong
            shape. The image need not exist, unless the file lacks its size.
    """
    notes = Notes()
    try:
        content = convert_record(read_json_object(path), LabelmeFile, notes, "the file")
        file_name = _resolve_image_name(content.imagePath, path, root)
        image = root / file_name
        if content.imageHeight is None or content.imageWidth is None:
            size = read_image_size(image)
        else:
            size = content.imageHeight, content.imageWidth
        check_image_size(*size)
    except RecordError as error:
        raise DataError(f"{path}: {error}") from None
    if image.is_file() and read_image_size(image) != size:
        found = read_image_size(image)
        raise SizeError(
            f"{path}: {size[0]}x{size[1]} pixels, its image {image} has {found[0]}x{found[1]} (height x width)"
        )
    drawing = read_shapes(path, content.shapes, size, skip_shapes=skip_shapes, notes=notes)
    return DrawnImage(file_name, size, drawing, notes)


def _resolve_image_name(image_path: str, path: Path, root: Path) -> str:
    """Return the image's name relative to the root; labelme's is relative to its file, on Windows with backslashes."""
    name = os.path.relpath(path.parent / image_path.replace("\\", "/"), root)
    try:
        return resolve_below(root, name).relative_to(root).as_posix()
    except RecordError as error:
        raise RecordError(f"imagePath: {error}; --images names the folder of the images") from None


def _check_images(files: Sequence[Path], drawn: Sequence[DrawnImage]) -> None:
    seen: dict[str, Path] = {}
    for file, image in zip(files, drawn):
        if image.file_name in seen:
            raise DataError(f"{file}: its image {image.file_name} is also that of {seen[image.file_name]}")
        seen[image.file_name] = file


def make_classes(folder: Path, drawn: Sequence[DrawnImage], stuff: Collection[str] = ()) -> ClassTable:
    """Return the labels of drawings as classes, in alphabetical order, with ids from 1.

    Args:
        folder: of the drawings, for the messages.
        drawn: the images.
        stuff: the labels that are stuff; the others are things.

    Raises:
        DataError: no shape has a label, or none has one of `stuff`.
    """
    labels = sorted({instance.label for image in drawn for instance in image.instances})
    if not labels:
        raise DataError(f"{folder}: no shape in it has a class; --classes names a file of the classes")
    if unknown := sorted(set(stuff) - set(labels)):
        raise DataError(f"--stuff {unknown[0]}: no shape in {folder} has this label; it has {', '.join(labels)}")
    entries = [
        {"id": index, "name": label, "isthing": int(label not in stuff)} for index, label in enumerate(labels, start=1)
    ]
    return build_class_table(folder, entries)


def check_labels(drawn: Sequence[DrawnImage], table: ClassTable, classes_file: Path | None) -> None:
    """Raise DataError for a label that is no class of `classes_file`."""
    names = {cls.name for cls in table.classes}
    for instance in (instance for image in drawn for instance in image.instances):
        if instance.label not in names:
            raise DataError(f"{instance.where}: unknown label {instance.label!r}, which is not in {classes_file}")


def _check_things(drawn: Sequence[DrawnImage], table: ClassTable, classes_file: Path | None) -> None:
    stuff = {cls.name for cls in table.classes if not cls.is_thing}
    for instance in (instance for image in drawn for instance in image.instances):
        if instance.label in stuff:
            raise DataError(
                f"{instance.where}: label {instance.label!r} is stuff in {classes_file}; expected a thing, or a folder "
                "as --output, which gets the stuff too"
            )
