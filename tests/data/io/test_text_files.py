import errno
import json
import math
import os
from pathlib import Path

import pytest

from unified_seg.data.io.text_files import read_json, write_json, write_json_stream
from unified_seg.data.problems import DataError


def test_json_is_indented_or_on_one_line(tmp_path: Path):
    file = tmp_path / "new" / "folder" / "a.json"
    write_json(file, {"a": [1, "é"], "b": None})
    assert file.read_text() == '{\n "a": [\n  1,\n  "\\u00e9"\n ],\n "b": null\n}\n'
    assert read_json(file) == {"a": [1, "é"], "b": None}
    write_json(file, {"a": [1, 2]}, indent=None)
    assert file.read_text() == '{"a": [1, 2]}\n'


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_nan_and_infinity_are_refused(tmp_path: Path, number: float):
    file = tmp_path / "a.json"
    write_json(file, "old")
    with pytest.raises(DataError, match=r"a\.json: can't be written: .*JSON compliant"):
        write_json(file, [1, number])
    assert read_json(file) == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_leaves_the_older_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "a.json"
    write_json(file, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(file, "new")
    assert read_json(file) == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_reader_never_sees_half_a_file(tmp_path: Path):
    file = tmp_path / "a.json"
    write_json(file, "old")
    with file.open() as reader:
        write_json(file, "new")
        assert json.load(reader) == "old"  # the new file took the old one's name, not its place on disk
    assert read_json(file) == "new"


@pytest.mark.parametrize("content", [b"", b"[1, 2", b"\xff", b"[" * 100_000], ids=lambda c: repr(c)[:20])
def test_invalid_json_is_named(tmp_path: Path, content: bytes):
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json: not readable as JSON: "):
        read_json(file)


def test_absent_json_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"a\.json: there is no such file"):
        read_json(tmp_path / "a.json")


def test_a_stream_of_entries_is_the_same_json(tmp_path: Path):
    records = [{"id": 1, "name": "ü"}, {"id": 2}]
    content = {"images": records, "annotations": [], "categories": [3]}
    write_json(tmp_path / "list.json", content, indent=None)
    streamed = {**content, "images": iter(records), "annotations": iter([])}
    write_json_stream(tmp_path / "stream.json", streamed)
    assert (tmp_path / "stream.json").read_bytes() == (tmp_path / "list.json").read_bytes()
    write_json_stream(tmp_path / "entries.json", iter(records))
    assert json.loads((tmp_path / "entries.json").read_text()) == records
    with pytest.raises(DataError, match=r"stream\.json"):
        write_json_stream(tmp_path / "stream.json", iter([math.nan]))
    assert (tmp_path / "stream.json").read_bytes() == (tmp_path / "list.json").read_bytes()
