"""Records against the types that declare them: what is accepted, and the one line that names what is not."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, Struct, UnsetType

from unified_seg.data.io.typed_records import Finite, Flag, convert_record, iterate_records
from unified_seg.data.problems import DataError, RecordError


class Part(Struct, forbid_unknown_fields=True):
    size: int


class Example(Struct):
    key: int | str
    flag: Flag = False
    box: tuple[Finite, Finite] | UnsetType = UNSET
    parts: list[Part] = []


@pytest.mark.parametrize("value", [0, 1, True, False])
def test_flags_are_0_or_1(value: object) -> None:
    assert convert_record({"key": 1, "flag": value}, Example).flag == value
    assert convert_record({"key": 1, "other": 2}, Example).flag is False


def test_numbers_become_floats() -> None:
    assert convert_record({"key": "x", "box": [1, -2.5]}, Example).box == (1.0, -2.5)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "key is missing"),
    ({"key": True}, "key must be int or str, got True"),
    ({"key": 1.0}, r"key must be int or str, got 1\.0"),
    *[({"key": 1, "flag": value}, f"flag must be .*, got {value!r}") for value in (2, -1, "1", None, 1.0)],
    ({"key": 1, "box": None}, "box must be array, got None"),
    ({"key": 1, "box": [1]}, r"box must be array of length 2, got \[1\]"),
    ({"key": 1, "box": [1, "2"]}, r"box\[1\] must be float, got '2'"),
    ({"key": 1, "box": [1, True]}, r"box\[1\] must be float, got True"),
    ({"key": 1, "box": [1, float("nan")]}, r"box\[1\] must be finite float, got nan"),
    ({"key": 1, "box": [1, float("inf")]}, r"box\[1\] must be finite float, got inf"),
    ({"key": 1, "box": [1, 10**400]}, r"box\[1\] must be valid \(Number out of range\), got 1000*$"),
    ({"key": 1, "parts": [{"size": 1}, {"size": "x"}]}, r"parts\[1\]\.size must be int, got 'x'"),
    ({"key": 1, "parts": [{}]}, r"parts\[0\]\.size is missing"),
]


@pytest.mark.parametrize(("record", "message"), WRONG)
def test_wrong_fields_are_named_with_their_value(record: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=f"^{message}"):
        convert_record(record, Example)


def test_unknown_keys_are_named_with_the_known_ones() -> None:
    with pytest.raises(RecordError, match="unknown key weight; the keys are size"):
        convert_record({"size": 1, "weight": 2}, Part)
    with pytest.raises(RecordError, match="must be str"):
        convert_record({"size": 1, 2: 3}, Part)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (None, "expected a list of parts records, got NoneType"),
        ([{}, 3], "parts record 1 must be an object, got 3"),
    ],
)
def test_lists_of_other_things_are_refused(records: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"file\.json: {message}"):
        list(iterate_records(Path("file.json"), records, "parts"))
