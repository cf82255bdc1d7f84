"""The records of COCO's JSON files, each checked before it is used.

H, W = an image.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from unified_seg.data.io.file_system import normalize_name, resolve_below
from unified_seg.data.io.image_files import read_image_size
from unified_seg.data.io.open_image import describe_pixels, get_max_pixels
from unified_seg.data.io.typed_records import Finite, Flag, Json, Notes, convert_record, iterate_records
from unified_seg.data.problems import DataError, Problem, RecordError, Report, raise_error
from unified_seg.structures.class_table import SegmentClass

ImageId = int | str


class ImageEntry(Struct, frozen=True):
    """An entry of `images`."""

    id: ImageId
    file_name: str
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width


class MaskEntry(Struct, frozen=True, kw_only=True):
    """What an entry of `annotations` of COCO's instance format has at least; the mask is checked where it is used."""

    image_id: ImageId
    category_id: int
    iscrowd: Flag = False
    ignore: Flag = False
    segmentation: Any = None


class InstanceEntry(MaskEntry, frozen=True, kw_only=True):
    """An entry of `annotations` of COCO's instance format.

    bbox is x, y, width, height in pixels; without one, with an empty list or with zeros it is that of the mask.
    """

    bbox: list[Finite] | None = None
    id: int | UnsetType = UNSET


class PanopticEntry(Struct, frozen=True):
    """An entry of `annotations` of COCO's panoptic format; each of the segments is a `SegmentEntry`."""

    image_id: ImageId
    file_name: str
    segments_info: list[Any]


class SegmentEntry(Struct, frozen=True):
    """An entry of `segments_info`."""

    id: int
    category_id: int
    iscrowd: Flag = False
    area: int | float | UnsetType = UNSET


class DetectionEntry(Struct, frozen=True):
    """An entry of COCO's instance results; the mask is checked where it is used."""

    image_id: ImageId
    category_id: int
    score: Finite


def find_class(dataset_id: int, classes: Mapping[int, SegmentClass | str]) -> SegmentClass:
    """Return the class with this category_id, see `match_categories`; raises RecordError."""
    if dataset_id not in classes:
        raise RecordError(f"unknown category_id {dataset_id}, which is not among the categories", kind="class")
    cls = classes[dataset_id]
    if isinstance(cls, str):
        raise RecordError(f"unknown category_id {dataset_id}: {cls!r} is not among the classes", kind="class")
    return cls


def find_thing_id(dataset_id: int, classes: Mapping[int, SegmentClass | str]) -> int:
    """Return the thing id of the class with this category_id; raises RecordError, for stuff too."""
    cls = find_class(dataset_id, classes)
    if cls.thing_id is None:
        raise RecordError(f"category_id {dataset_id} is {cls.name}, which is stuff; expected a thing", kind="class")
    return cls.thing_id


@dataclass(frozen=True)
class ImageList:
    """The `images` of a file.

    Attributes:
        by_id: the images.
        refused: the ids of wrong records, which are reported; None is an id that can't be read.
        refused_names: the file names of wrong records; None is one that can't be read.
    """

    by_id: dict[ImageId, ImageEntry] = field(default_factory=dict)
    refused: set[ImageId | None] = field(default_factory=set)
    refused_names: set[str | None] = field(default_factory=set)

    def refuse(self, image_id: Any, file_name: Any) -> None:
        """Leave an image out; what refers to it is left out too, without a further problem."""
        if isinstance(image_id, float) and image_id.is_integer():
            image_id = int(image_id)
        self.refused.add(image_id if isinstance(image_id, ImageId) and not isinstance(image_id, bool) else None)
        self.refused_names.add(file_name if isinstance(file_name, str) else None)

    def make_records(self, path: Path, image_root: Path, report: Report) -> dict[ImageId, dict[str, Any]]:
        """Return a record of each image, by id: file_name, image_id, height, width.

        Args:
            path: the file, for errors.
            image_root: the folder of the images.
            report: gets the images whose names lead out of the folder; they are left out.
        """
        records = {}
        for entry in self.by_id.values():
            try:
                file = resolve_below(image_root, entry.file_name)
            except RecordError as error:
                self.refuse(entry.id, entry.file_name)
                report(Problem(error.kind, str(path), str(error), f"image {entry.id!r}"))
                continue
            size = {"height": entry.height, "width": entry.width}
            records[entry.id] = {"file_name": str(file), "image_id": entry.id, **size}
        return records

    def find_refused_files(self, image_root: Path) -> set[str | None]:
        """Return the files of wrong records, as those of right ones are named; None is one that can't be read."""
        return {None if name is None else _name_refused_file(image_root, name) for name in self.refused_names}

    def find(self, image_id: ImageId) -> ImageEntry | None:
        """Return an image; None if it, or one whose id can't be read, is left out.

        Raises:
            RecordError: there is no such image.
        """
        for spelling in _spell(image_id):
            if spelling in self.by_id:
                return self.by_id[spelling]
            if spelling in self.refused:
                return None
        if None in self.refused:
            return None
        raise RecordError(f"its image id {image_id!r} is not among the images", kind="missing-file")


def _name_refused_file(image_root: Path, name: str) -> str | None:
    try:
        return str(resolve_below(image_root, name))
    except RecordError:
        return None


def match_image_id(image_id: ImageId, known: Container[ImageId]) -> ImageId:
    """Return an image id as the images have it: an annotation may have the id 1 as "1", or the other way round.

    Raises:
        RecordError: there is no such image.
    """
    for spelling in _spell(image_id):
        if spelling in known:
            return spelling
    raise RecordError(f"its image id {image_id!r} is not among the images", kind="missing-file")


def _spell(image_id: ImageId) -> tuple[ImageId, ...]:
    """Return an image id as it is and, of a whole number, also as text or as number."""
    if isinstance(image_id, int):
        return image_id, str(image_id)
    is_number = image_id.isdecimal() and str(int(image_id)) == image_id
    return (image_id, int(image_id)) if is_number else (image_id,)


def read_image_entries(
    path: Path, content: Json, report: Report = raise_error, image_root: Path | None = None
) -> ImageList:
    """Return the `images` of a file; ids and file names are unique.

    Args:
        path: the file, for errors.
        content: of the file.
        report: gets the problems; a wrong record is left out.
        image_root: the folder of the images, from which absent sizes are read; None: they are an error.

    Raises:
        DataError: there is no such list.
    """
    images = ImageList()
    if content.get("images") == []:
        images.refuse(None, None)
        report(Problem("format", str(path), "no image in it"))
    names: dict[str, ImageId] = {}
    notes = Notes()
    for where, record in iterate_records(path, content.get("images"), "images"):
        try:
            if image_root is not None and record.get("height") is None and record.get("width") is None:
                record = _add_size(record, image_root)
                notes.add("height and width are absent, read from the image", where)
            entry = convert_record(record, ImageEntry, notes, where)
            check_image_size(entry.height, entry.width)
            if entry.id in images.by_id:
                raise RecordError(f"the image id {entry.id!r} is there twice", kind="duplicate")
            file = normalize_name(entry.file_name)
            if file in names:
                cause = f"images {names[file]!r} and {entry.id!r} both have the file_name {entry.file_name!r}"
                raise RecordError(cause, kind="duplicate")
            images.by_id[entry.id], names[file] = entry, entry.id
        except RecordError as error:
            image_id = record.get("id")
            if isinstance(image_id, ImageId) and image_id in images.by_id:
                image_id = None  # repeated: its own id is not known
            images.refuse(image_id, record.get("file_name"))
            report(Problem(error.kind, str(path), str(error), where))
    notes.log(path, report)
    return images


def _add_size(record: Json, image_root: Path) -> Json:
    """Return the record of an image with the size of the file; raises RecordError."""
    name = record.get("file_name")
    if not isinstance(name, str):
        return record
    try:
        height, width = read_image_size(resolve_below(image_root, name))
    except DataError as error:
        raise RecordError(f"height and width are absent, and can't be read: {error}", kind=error.kind) from None
    return {**record, "height": height, "width": width}


class RepeatedCauses:
    """Problems that records can have from one cause, such as a missing class; each cause is reported once.

    Args:
        path: the file.
        report: gets the problems when `tell` is called.
    """

    KINDS = ("class", "missing-file")

    def __init__(self, path: Path, report: Report):
        self.path = path
        self.report = report
        self._first: dict[tuple[str, str], str] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, error: RecordError, where: str) -> None:
        """Add a problem; those of other kinds are reported at once."""
        if error.kind not in self.KINDS:
            self.report(Problem(error.kind, str(self.path), str(error), where))
            return
        key = (error.kind, str(error))
        self._first.setdefault(key, where)
        self._counts[key] = self._counts.get(key, 0) + 1

    def report_all(self) -> None:
        """Report each cause once, at its first record, with the number of records."""
        for (kind, cause), count in self._counts.items():
            more = f"; {count} records have this cause" if count > 1 else ""
            self.report(Problem(kind, str(self.path), cause + more, self._first[kind, cause]))


def check_image_size(height: int, width: int) -> None:
    """Raise RecordError for an image without a pixel, or with more than INPUT.MAX_PIXELS."""
    if min(height, width) < 1:
        raise RecordError(f"height and width must be at least 1, got {height}x{width}", kind="size")
    if height * width > get_max_pixels():
        raise RecordError(describe_pixels(height, width), kind="size")
