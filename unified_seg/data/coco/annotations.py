"""COCO's JSON files: their lists of records, images and categories, each record checked before it is used.

H, W = an image.
"""

import math
import os
import posixpath
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.utils.colormap import colormap

from unified_seg.data.io.json_file import read_json
from unified_seg.data.io.reading import MAX_PIXELS, DataError
from unified_seg.data.validation.problems import Problem, Report, stop
from unified_seg.structures.class_table import ClassTable, SegmentClass

Json = dict[str, Any]
ImageId = int | str


class RecordError(DataError):
    """A record that can't be used; the message is the cause, where it is says who reads the list."""

    def __init__(self, cause: str, kind: str = "format"):
        super().__init__(cause)
        self.kind = kind


class ImageEntry(NamedTuple):
    """An entry of `images`.

    Attributes:
        id, file_name: as in the JSON.
        size: (H, W).
    """

    id: ImageId
    file_name: str
    size: tuple[int, int]


def read_object(path: Path) -> Json:
    """A JSON file whose content is an object.

    Raises:
        DataError: as `read_json`, or another content.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected an object with lists of records, got {type(content).__name__}")
    return content


def records_of(path: Path, records: Any, name: str = "") -> Iterator[tuple[str, Json]]:
    """(its name in errors, record) of each record of a list.

    Args:
        path: the file, for errors.
        records: what should be a list of objects.
        name: of the list.

    Raises:
        DataError: it is none.
    """
    what = f"{name} " if name else ""
    if not isinstance(records, list):
        raise DataError(f"{path}: expected a list of {what}records, got {type(records).__name__}")
    for index, record in enumerate(records):
        where = f"{what}record {index}"
        if not isinstance(record, dict):
            raise DataError(f"{path}: {where} is no object but {record!r:.80}")
        yield where, record


def field(record: Json, key: str, *kinds: type) -> Any:
    """A value of one of these types.

    Raises:
        RecordError: it is absent or of another type; True is no number here.
    """
    value = record.get(key)
    if type(value) not in kinds:
        raise RecordError(f"{key} must be {' or '.join(kind.__name__ for kind in kinds)}, got {value!r:.80}")
    return value


def flag(record: Json, key: str) -> bool:
    """A value that may be 0, 1, false, true, or absent, which means false; else RecordError."""
    value = record.get(key, False)
    if type(value) not in (bool, int) or value not in (0, 1):
        raise RecordError(f"{key} must be 0 or 1, got {value!r:.80}")
    return bool(value)


def numbers(record: Json, key: str, count: int) -> list[float]:
    """A list of so many finite numbers; else RecordError."""
    values = record.get(key)
    if not isinstance(values, list) or len(values) != count:
        raise RecordError(f"{key} must be {count} numbers, got {values!r:.80}")
    # An int may be beyond all floats.
    if not all(type(v) in (int, float) and abs(v) < 1e300 and math.isfinite(v) for v in values):
        raise RecordError(f"{key} must be {count} finite numbers, got {values!r:.80}")
    return [float(v) for v in values]


def path_in(root: Path, name: str) -> Path:
    """The file of this name below a folder.

    Raises:
        RecordError: a name that leads out of it, through links too, or that no file can have.
    """
    try:
        path = root / os.path.normpath(name)
        if Path(name).is_absolute():
            path = root / path.resolve().relative_to(_resolved(root))
        # Resolving is slow, and a data set's files are in few folders.
        parent = _resolved(path.parent)
        target = path.resolve() if path.is_symlink() else parent / path.name
        inside = "\0" not in name and path != root and target.is_relative_to(_resolved(root))
    except ValueError as error:
        raise RecordError(f"file_name {name!r} leads out of {root} or names no file: {error}", kind="path") from None
    if not inside:
        raise RecordError(f"file_name {name!r} leads out of {root} or names no file", kind="path")
    return path


@lru_cache(maxsize=4096)
def _resolved(folder: Path) -> Path:
    return folder.resolve()


def class_of(record: Json, table: ClassTable) -> SegmentClass:
    """The class that a record's category_id names; raises RecordError."""
    dataset_id = field(record, "category_id", int)
    if dataset_id not in table.by_dataset_id:
        raise RecordError(f"its category_id {dataset_id} is no class", kind="class")
    return table.by_dataset_id[dataset_id]


def thing_of(record: Json, table: ClassTable) -> int:
    """The thing id that a record's category_id names; raises RecordError for stuff too."""
    cls = class_of(record, table)
    if cls.thing_id is None:
        raise RecordError(f"its category_id {cls.dataset_id} is {cls.name}, which is stuff", kind="class")
    return cls.thing_id


def image_entry(record: Json) -> ImageEntry:
    """One record of `images`; raises RecordError."""
    size = (field(record, "height", int), field(record, "width", int))
    if min(size) < 1:
        raise RecordError(f"height and width must be at least 1, got {list(size)}", kind="size")
    if size[0] * size[1] > MAX_PIXELS:
        raise RecordError(f"{size[0]}x{size[1]} pixels, more than {MAX_PIXELS} aren't read", kind="size")
    return ImageEntry(field(record, "id", int, str), field(record, "file_name", str), size)


def read_image_entries(path: Path, content: Json, report: Report = stop) -> dict[ImageId, ImageEntry]:
    """The `images` of a file, by id; ids and file names are unique.

    Args:
        path: the file, for errors.
        content: of the file.
        report: gets what is wrong with a record, which is then left out.

    Raises:
        DataError: there is no such list.
    """
    entries: dict[ImageId, ImageEntry] = {}
    names: dict[str, ImageId] = {}
    for where, record in records_of(path, content.get("images"), "images"):
        try:
            entry = image_entry(record)
            if entry.id in entries:
                raise RecordError(f"the image id {entry.id!r} is there twice", kind="duplicate")
            file = posixpath.normpath(entry.file_name)
            if file in names:
                raise RecordError(
                    f"images {names[file]!r} and {entry.id!r} both have the file_name {entry.file_name!r}",
                    kind="duplicate",
                )
            entries[entry.id], names[file] = entry, entry.id
        except RecordError as error:
            report(Problem(error.kind, str(path), str(error), where))
    return entries


def read_categories(path: Path, use_supercategories: bool | None = None) -> ClassTable:
    """The classes of COCO's categories: a JSON list of them, or an object that has it as `categories`.

    Args, returns and raises as `class_table`.
    """
    return class_table(path, listed_categories(read_json(path)), use_supercategories)


def listed_categories(content: Any) -> Any:
    """What a file says the categories are: itself a list of them, or an object that has it as `categories`."""
    return content.get("categories") if isinstance(content, dict) else content


def class_table(path: Path, categories: Any, use_supercategories: bool | None = None) -> ClassTable:
    """The classes of COCO's categories (id, name, isthing, perhaps color and supercategory).

    Args:
        path: the file, for errors.
        categories: the list of them. Where none has an isthing, as in files of instances, all are things.
        use_supercategories: classes of one supercategory are look-alikes; else each class has its category to itself.
            None: those of one supercategory, where they have any and not all have the same one.

    Returns:
        The classes; semantic ids and thing ids count in their order.

    Raises:
        DataError: no such list, or categories that make no table.
    """
    records = list(records_of(path, categories))
    things_alone = not any("isthing" in record for _, record in records)
    names = [record.get("name") for _, record in records]
    # Two classes of one name are not one category.
    own_names = names if len({str(name) for name in names}) == len(names) else [str(i) for i in range(len(names))]
    if use_supercategories is None and len({_given_category(record) for _, record in records}) <= 1:
        use_supercategories = False
    palette = colormap(rgb=True).astype(int).tolist()
    classes: list[SegmentClass] = []
    for index, (where, record) in enumerate(records):
        try:
            is_thing = things_alone or flag(record, "isthing")
            cls = SegmentClass(
                name=_name(record),
                semantic_id=index,
                thing_id=sum(c.is_thing for c in classes) if is_thing else None,
                dataset_id=field(record, "id", int),
                category=_category(record, str(own_names[index]), use_supercategories),
                color=_color(record.get("color", palette[index % len(palette)])),
            )
        except RecordError as error:
            raise DataError(f"{path}: {where}: {error}") from None
        classes.append(cls)
    try:
        return ClassTable(classes)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _name(record: Json) -> str:
    name: str = field(record, "name", str)
    if not name.strip():
        raise RecordError("its name is empty")
    return name


def _given_category(record: Json) -> Any:
    """What tools write who ask for no supercategory is none: "", "none" or null."""
    given = record.get("supercategory")
    return None if given in ("", "none") else given


def _category(record: Json, own: str, use_supercategories: bool | None) -> str:
    if use_supercategories or (use_supercategories is None and _given_category(record) is not None):
        return field(record, "supercategory", str)
    return own


def _color(color: Any) -> tuple[int, int, int]:
    if not isinstance(color, list) or len(color) != 3 or not all(type(c) is int and c in range(256) for c in color):
        raise RecordError(f"color must be three numbers 0 .. 255, got {color!r:.80}")
    return color[0], color[1], color[2]


def coco_categories(classes: Iterable[SegmentClass]) -> list[Json]:
    """COCO's categories, of which `class_table` makes the same classes."""
    categories = []
    for c in classes:
        category = {"id": c.dataset_id, "name": c.name, "isthing": int(c.is_thing), "color": list(c.color)}
        categories.append(category if c.category == c.name else {**category, "supercategory": c.category})
    return categories
