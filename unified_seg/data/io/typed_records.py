"""Records of files that others wrote, checked against the type that declares them.

A kind of record is one `msgspec.Struct`: its fields, their types and ranges. Further keys of a record are ignored.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from detectron2.utils.logger import log_first_n

from unified_seg.data.problems import DataError, Problem, RecordError, Report, raise_error

Json = dict[str, Any]
#: A value that is 0, 1, false or true.
Flag = bool | Annotated[int, msgspec.Meta(ge=0, le=1)]
#: A number, neither NaN nor infinite nor beyond what floats hold.
Finite = Annotated[float, msgspec.Meta(gt=-1e300, lt=1e300)]

Kind = TypeVar("Kind", bound=msgspec.Struct)

# msgspec's messages: Expected `int`, got `str` - at `$.bbox[3]`
MESSAGE = re.compile(r"(?P<cause>.*?)(?: - at `\$\.?(?P<path>.*)`)?")
EXPECTED = re.compile(r"Expected (?P<expected>.*?)(?:, got .*)?")
UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`")
MISSING = re.compile(r"Object missing required field `(?P<field>.*)`")


def iterate_records(path: Path, records: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name in errors, record) of each record of a list.

    Args:
        path: the file, for errors.
        records: what should be a list of objects.
        name: of the list.

    Raises:
        DataError: not a list of objects.
    """
    what = f"{name} " if name else ""
    if not isinstance(records, list):
        raise DataError(f"{path}: expected a list of {what}records, got {type(records).__name__}")
    for index, record in enumerate(records):
        where = f"{what}record {index}"
        if not isinstance(record, dict):
            raise DataError(f"{path}: {where} must be an object, got {record!r:.80}")
        yield where, record


class Notes:
    """The values of a file that have another type than declared but a plain meaning, counted to be reported once."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def add(self, note: str, where: str = "") -> None:
        """Count a note, such as "iscrowd is null, read as absent"; `where` is the record."""
        self._first.setdefault(note, where)
        self._counts[note] = self._counts.get(note, 0) + 1

    def merge(self, other: "Notes", where: str) -> None:
        """Add the notes of another file, of the name `where`."""
        for note, count in other._counts.items():
            self._first.setdefault(note, f"{where}: {other._first[note]}")
            self._counts[note] = self._counts.get(note, 0) + count

    def log(self, path: Path, report: Report = raise_error) -> None:
        """Log each note with its number of records, once a process, and report it as a warning."""
        for note, count in self._counts.items():
            cause = f"{note}; {count} record{'s' * (count != 1)}"
            problem = Problem("plain-value", str(path), cause, self._first[note])
            log_first_n(logging.WARNING, str(problem), name=__name__, key="message")
            report(problem)


def convert_record(
    record: Any, kind: type[Kind], notes: Notes | None = None, where: str = "", *, str_keys: bool = False
) -> Kind:
    """Return a record as the type that declares it.

    Args:
        record: as read from the file.
        kind: its type.
        notes: accept values of another type whose meaning is plain, and count them here: null for an optional field,
            and 1.0 or "1" for the whole number 1. None: they are errors.
        where: the record, for the notes.
        str_keys: keys that are numbers may be text, as JSON has them.

    Raises:
        RecordError: the first field that is missing, or of another type or range; in one line, without the file.
    """
    try:
        return msgspec.convert(record, kind, str_keys=str_keys)
    except msgspec.ValidationError as error:
        plain = None if notes is None else _convert_plainly(record, kind, notes, where)
        if plain is None:
            raise RecordError(_describe(error, record, kind)) from None
        return plain


def _convert_plainly(record: Any, kind: type[Kind], notes: Notes, where: str) -> Kind | None:
    """Return a record whose values have a plain meaning as the type that declares it; None for another record."""
    if not isinstance(record, dict):
        return None
    fields = msgspec.structs.fields(kind)
    absent = [f for f in fields if not f.required and f.default is not None]  # null may be a value of the others
    null = [f.encode_name for f in absent if record.get(f.encode_name, 0) is None]
    given = {key: value for key, value in record.items() if key not in null}
    try:
        converted = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError:
        return None
    for name in null:
        notes.add(f"{name} is null, read as absent", where)
    for field in fields:
        value, result = given.get(field.encode_name), getattr(converted, field.name)
        if isinstance(value, float | str) and isinstance(result, int):
            notes.add(f"{field.encode_name} is {type(value).__name__}, read as a whole number", where)
        elif isinstance(value, list) and result != value and _has_text(value):
            notes.add(f"{field.encode_name} has text, read as numbers", where)
    return converted


def _has_text(values: list[Any]) -> bool:
    return any(_has_text(value) if isinstance(value, list) else isinstance(value, str) for value in values)


def _describe(error: msgspec.ValidationError, record: Any, kind: type[msgspec.Struct]) -> str:
    """Return "<path> must be <type>, got <value>"."""
    message = MESSAGE.fullmatch(str(error))
    cause, path = (message["cause"], message["path"] or "") if message else (str(error), "")
    if missing := MISSING.fullmatch(cause):
        return f"{path}.{missing['field']} is missing".lstrip(".")
    if unknown := UNKNOWN.fullmatch(cause):
        return f"unknown key {unknown['field']}; the keys are {', '.join(kind.__struct_fields__)}"
    value = record
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        value = value[key] if key else value[int(index)]
    expected = EXPECTED.fullmatch(cause)
    wanted = expected["expected"].replace("`", "").replace(" | ", " or ") if expected else f"valid ({cause})"
    wanted = re.sub(r"float [<>] -?1e\+300", "finite float", wanted)
    return f"{path or 'the record'} must be {wanted}, got {value!r:.80}"
