"""What can be wrong with a data set: where, why, and how to fix it.

Readers pass each problem that they find to a `Report`. `raise_error` ends at the first error, before training starts;
with a report that collects (`list.append`) they leave out the wrong record and go on.
"""

import errno
from collections.abc import Callable
from typing import NamedTuple

from unified_seg.errors import UserError


class DataError(UserError, ValueError):
    """A record or file that can't be used; the message names the file and the cause.

    Attributes:
        kind: of `problems.KINDS`.
    """

    kind = "format"


class FileError(DataError):
    """A file that can't be read; other files can."""


class MissingFileError(FileError):
    """A file that does not exist."""

    kind = "missing-file"


class SizeError(DataError):
    """A label whose size differs from that of its image."""

    kind = "size"


class UnreadableError(FileError):
    """A file that is damaged, not an image of a supported format, or has more pixels than INPUT.MAX_PIXELS."""

    kind = "unreadable"


class UnsupportedError(FileError):
    """A sound image of a kind that the model does not read: another number of channels, or values of unknown range."""

    kind = "unsupported"


class WriteError(DataError):
    """A file that can't be written.

    Attributes:
        concerns_all: whether no other file in that place can be written either: a full or read-only disk.
    """

    concerns_all = False

    @classmethod
    def from_error(cls, error: Exception, file: object) -> "WriteError":
        """Return the error of a file with the cause of another error."""
        number = getattr(error, "errno", None)
        found = cls(f"{file} can't be written: {getattr(error, 'strerror', None) or ' '.join(str(error).split())}")
        found.concerns_all = number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
        return found


class RecordError(DataError):
    """A record that can't be used; the message is the cause, to which the reader of the list adds file and record."""

    def __init__(self, cause: str, kind: str = "format"):
        super().__init__(cause)
        self.kind = kind


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        title: of all such problems.
        fix: what to do about one.
        is_error: training or scores would be wrong; False for a warning.
    """

    title: str
    fix: str
    is_error: bool = True


#: The kinds of problems, by their name in reports and JSON.
KINDS = {
    "missing-file": Kind("Missing files", "put the file there, or take it out of the annotations"),
    "unreadable": Kind("Unreadable files", "download or export the file again"),
    "unsupported": Kind(
        "Images that the model does not read",
        "convert them, or choose INPUT.FORMAT, MODEL.PIXEL_MEAN and INPUT.VALUE_RANGE for them",
    ),
    "value-range": Kind(
        "Images that use less than a tenth of their range of values",
        "set INPUT.VALUE_RANGE to the values that they have, or INPUT.STRETCH_PERCENTILES, or export them again",
        is_error=False,
    ),
    "format": Kind("Annotations in a wrong format", "write the file in the format of docs/data.md"),
    "path": Kind("File names outside of their folder", "name files relative to the folder, without '..'"),
    "duplicate": Kind("Repeated records", "keep one of them, or give the other an id of its own"),
    "missing-ground-truth": Kind("Images without ground truth", "label the image, or leave it out of the images"),
    "class": Kind("Unknown classes", "add the class to the categories, or remove what refers to it"),
    "size": Kind("Sizes that differ", "export the label at the size of the image, which an EXIF tag may rotate"),
    "orientation": Kind(
        "Images that an EXIF tag rotates or mirrors",
        "check that the labels fit the upright image, or rotate the pixels and remove the tag",
        is_error=False,
    ),
    "label-id": Kind("Label ids without a class", "correct the label, or the classes and ids to ignore"),
    "segments": Kind("Segments only in the PNG or only in the JSON", "write PNG and JSON from one source"),
    "area": Kind("Areas that differ from the PNG", "nothing: areas are counted in the PNG", is_error=False),
    "mask": Kind("Invalid masks", "export the polygon or the run lengths again"),
    "box": Kind("Invalid boxes", "export the box again: x, y, width, height in pixels"),
    "no-area": Kind("Instances without area", "nothing: they are left out", is_error=False),
    "box-outside": Kind("Boxes outside of their image", "export the box again, clipped to the image", is_error=False),
    "plain-value": Kind("Values of an unusual type", "nothing: their meaning is plain", is_error=False),
    "empty-class": Kind("Classes that never occur", "add examples, or leave the class out", is_error=False),
    "crowd-class": Kind("Classes whose instances are all crowds", "label some instances one by one", is_error=False),
    "undefined-score": Kind(
        "Scores that are undefined, if it is a test set", "label some, or expect NaN for these scores", is_error=False
    ),
    "void": Kind(
        "Void pixels, and classes that never occur",
        "give the value the id of its class in CLASSES, or write it in IGNORE",
        is_error=False,
    ),
    "no-label": Kind("Images without a labeled pixel", "label the image, or leave it out", is_error=False),
    "same-image": Kind("Identical images", "leave one out; in both sets it makes scores too good", is_error=False),
}  # fmt: skip


class Problem(NamedTuple):
    """Something wrong with a data set.

    Attributes:
        kind: of KINDS.
        file: its path.
        cause: what is wrong, with the value that is.
        record: where in the file; "" for the file as a whole.
    """

    kind: str
    file: str
    cause: str
    record: str = ""

    @classmethod
    def from_error(cls, error: DataError, file: str, record: str = "") -> "Problem":
        """Return the problem of an error, whose message may start with the file and the record."""
        cause = str(error)
        for prefix in (file, record):
            cause = cause.removeprefix(f"{prefix}: ")
        return cls(error.kind, file, cause, record)

    @property
    def is_error(self) -> bool:
        return KINDS[self.kind].is_error

    @property
    def fix(self) -> str:
        return KINDS[self.kind].fix

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.record, self.cause) if part)


Report = Callable[[Problem], object]


def raise_error(problem: Problem) -> None:
    """Raise a DataError of the problem's kind, unless it is a warning."""
    if problem.is_error:
        error = DataError(str(problem))
        error.kind = problem.kind
        raise error
