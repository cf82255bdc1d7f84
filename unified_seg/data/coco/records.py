"""COCO's JSON files: their lists of records, images and categories, each record checked before it is used.

H, W = an image.
"""

import math
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from unified_seg.data.io.image_files import MAX_PIXELS
from unified_seg.data.io.text_files import read_json
from unified_seg.data.problems import DataError, Problem, RecordError, Report, stop
from unified_seg.structures.class_table import ClassTable, SegmentClass

Json = dict[str, Any]
ImageId = int | str


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
