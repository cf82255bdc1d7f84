"""Records of files that others wrote, checked against the type that declares them.

A kind of record is one `msgspec.Struct`: its fields, their types and ranges. Further keys of a record are ignored.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from unified_seg.data.problems import DataError, RecordError

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


def convert_record(record: Any, kind: type[Kind]) -> Kind:
    """Return a record as the type that declares it.

    Raises:
        RecordError: the first field that is missing, or of another type or range; in one line, without the file.
    """
    try:
        return msgspec.convert(record, kind)
    except msgspec.ValidationError as error:
        raise RecordError(_describe(error, record, kind)) from None


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
