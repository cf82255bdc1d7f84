"""The records of COCO's JSON files, each checked before it is used.

H, W = an image.
"""

from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from unified_seg.data.io.file_system import normalize_name
from unified_seg.data.io.pixel_limit import describe_pixels, get_max_pixels
from unified_seg.data.io.typed_records import Finite, Flag, Json, convert_record, iterate_records
from unified_seg.data.problems import Problem, RecordError, Report, raise_error
from unified_seg.structures.class_table import ClassTable, SegmentClass

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
    segmentation: Any = None


class InstanceEntry(MaskEntry, frozen=True, kw_only=True):
    """An entry of `annotations` of COCO's instance format; bbox is x, y, width, height in pixels."""

    bbox: tuple[Finite, Finite, Finite, Finite]
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


def find_class(dataset_id: int, table: ClassTable) -> SegmentClass:
    """Return the class with this category_id; raises RecordError."""
    if dataset_id not in table.by_dataset_id:
        raise RecordError(f"unknown category_id {dataset_id}, which is not among the categories", kind="class")
    return table.by_dataset_id[dataset_id]


def find_thing_id(dataset_id: int, table: ClassTable) -> int:
    """Return the thing id of the class with this category_id; raises RecordError, for stuff too."""
    cls = find_class(dataset_id, table)
    if cls.thing_id is None:
        raise RecordError(f"category_id {dataset_id} is {cls.name}, which is stuff; expected a thing", kind="class")
    return cls.thing_id


def read_image_entries(path: Path, content: Json, report: Report = raise_error) -> dict[ImageId, ImageEntry]:
    """Return the `images` of a file, by id; ids and file names are unique.

    Args:
        path: the file, for errors.
        content: of the file.
        report: gets the problems; a wrong record is left out.

    Raises:
        DataError: there is no such list.
    """
    entries: dict[ImageId, ImageEntry] = {}
    names: dict[str, ImageId] = {}
    for where, record in iterate_records(path, content.get("images"), "images"):
        try:
            entry = convert_record(record, ImageEntry)
            check_image_size(entry.height, entry.width)
            if entry.id in entries:
                raise RecordError(f"the image id {entry.id!r} is there twice", kind="duplicate")
            file = normalize_name(entry.file_name)
            if file in names:
                cause = f"images {names[file]!r} and {entry.id!r} both have the file_name {entry.file_name!r}"
                raise RecordError(cause, kind="duplicate")
            entries[entry.id], names[file] = entry, entry.id
        except RecordError as error:
            report(Problem(error.kind, str(path), str(error), where))
    return entries


def check_image_size(height: int, width: int) -> None:
    """Raise RecordError for an image without a pixel, or with more than INPUT.MAX_PIXELS."""
    if min(height, width) < 1:
        raise RecordError(f"height and width must be at least 1, got {height}x{width}", kind="size")
    if height * width > get_max_pixels():
        raise RecordError(describe_pixels(height, width), kind="size")
