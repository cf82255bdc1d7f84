"""What can be wrong with a data set: where, why, and how to fix it.

Readers tell a `Report` of what they find. `stop` ends at the first error, before training starts; a report that
collects (`list.append`) lets them go on without the record that is wrong.
"""

from collections.abc import Callable
from typing import NamedTuple

from unified_seg.errors import UserError


class DataError(UserError, ValueError):
    """A record or file that can't be used; the message names the file and the cause.

    Attributes:
        kind: of `problems.KINDS`.
    """

    kind = "format"


class MissingFileError(DataError):
    """There is no such file."""

    kind = "missing-file"


class SizeError(DataError):
    """A label of another size than its image."""

    kind = "size"


class UnreadableError(DataError):
    """A file that is no image of the formats that are read, is damaged, or has more pixels than MAX_PIXELS."""

    kind = "unreadable"


class RecordError(DataError):
    """A record that can't be used; the message is the cause, where it is says who reads the list."""

    def __init__(self, cause: str, kind: str = "format"):
        super().__init__(cause)
        self.kind = kind


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        title: what such problems have in common.
        fix: what to do about one.
        is_error: whether training or scores would be wrong with it; a warning is worth a look.
    """

    title: str
    fix: str
    is_error: bool = True


#: The kinds of problems, by the name that reports and JSON have.
KINDS = {
    "missing-file": Kind("Files that are not there", "put the file there, or take it out of the annotations"),
    "unreadable": Kind("Files that can't be read", "download or export the file again"),
    "format": Kind("Annotations in another form", "write the file in the form that docs/data.md shows"),
    "path": Kind("File names that lead out of their folder", "name files relative to the folder, without '..'"),
    "duplicate": Kind("Records that are there twice", "keep one of them, or give the other an id of its own"),
    "missing-truth": Kind("Images without their truth", "label the image, or take it out of the list of images"),
    "class": Kind("Classes that are unknown", "add the class to the categories, or take out what names it"),
    "size": Kind("Sizes that differ", "export the label at the image's size; mind images that an EXIF tag turns"),
    "orientation": Kind(
        "Images that an EXIF tag turns or mirrors",
        "see that the labels are of the upright image, or turn the pixels for good and drop the tag",
        is_error=False,
    ),
    "label-id": Kind("Label ids that are no class", "correct the label, or the classes and ids to ignore"),
    "segments": Kind("Segments of the PNG or of the JSON alone", "write PNG and JSON from one source"),
    "area": Kind("Areas that differ from the PNG", "nothing: areas are counted in the PNG", is_error=False),
    "mask": Kind("Masks that are none", "export the polygon or the run lengths again"),
    "box": Kind("Boxes that are none", "export the box again: x, y, width, height in pixels"),
    "no-area": Kind("Instances without area", "nothing: they are left out", is_error=False),
    "box-outside": Kind("Boxes that leave their image", "export the box again, cut to the image", is_error=False),
    "empty-class": Kind("Classes that never occur", "add examples, or leave the class out", is_error=False),
    "crowd-class": Kind("Classes whose instances are all crowds", "label some one by one", is_error=False),
    "no-label": Kind("Images without a labeled pixel", "label the image, or leave it out", is_error=False),
    "same-image": Kind("Images that are the same", "leave one out; in training and test it flatters", is_error=False),
}  # fmt: skip


class Problem(NamedTuple):
    """Something wrong.

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
        """What an error says, whose message may start with the file and the record."""
        cause = str(error)
        for said in (file, record):
            cause = cause.removeprefix(f"{said}: ")
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


def stop(problem: Problem) -> None:
    """Raise a DataError of its kind for an error, let a warning pass."""
    if problem.is_error:
        error = DataError(str(problem))
        error.kind = problem.kind
        raise error


def escape_unprintable(text: str) -> str:
    """On one line, and without what a terminal would obey or no file may hold: names may be anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
