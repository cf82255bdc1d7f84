import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.inference.files.finished_log import COMPLETE, FinishedLog, read_complete


def write(folder: Path, names: list[str], rank: int = 0) -> None:
    log = FinishedLog(folder, rank)
    for name in names:
        log.append(name, json.dumps({"name": name}))
    log.close()


def read(folder: Path, names: Iterable[str]) -> list[str]:
    """Return the names in the entries of a log that is compacted in the order of these names."""
    count = FinishedLog(folder).compact(names)
    entries = [entry["name"] for entry in read_complete(folder)]
    assert len(entries) == count
    return entries


def test_starts_and_processes_append_to_different_files(tmp_path: Path) -> None:
    write(tmp_path, ["a", "ü/b"])
    write(tmp_path, ["c"], rank=1)
    write(tmp_path, [])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0001-0000.jsonl", "0002-0001.jsonl"]
    log = FinishedLog(tmp_path)
    assert len(log) == 3 and "ü/b" in log and "d" not in log
    assert read(tmp_path, ["c", "d", "a", "ü/b"]) == ["c", "a", "ü/b"]


def test_a_compact_log_has_the_order_of_the_images(tmp_path: Path) -> None:
    write(tmp_path, ["c", "a"])
    write(tmp_path, ["b", "a"])  # twice, after a kill between both files
    FinishedLog(tmp_path).compact(["a", "b", "c", "missing"])
    (file,) = tmp_path.iterdir()
    assert file.name == COMPLETE and len(file.read_bytes().splitlines()) == 3
    write(tmp_path, ["d"])
    assert read(tmp_path, "abcd") == ["a", "b", "c", "d"]


def test_the_last_line_of_a_name_counts(tmp_path: Path) -> None:
    assert FinishedLog(tmp_path).read_any() == {}
    write(tmp_path, ["a"])
    FinishedLog(tmp_path).compact(["a"])
    for number in range(2):  # predicted again, since its files were deleted
        log = FinishedLog(tmp_path)
        log.append("a", json.dumps({"name": f"a{number}"}))
        log.close()
    assert FinishedLog(tmp_path).read_any() == {"name": "a1"} and read(tmp_path, "a") == ["a1"]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 200))
def test_a_line_that_was_cut_off_does_not_count(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    folder = tmp_path_factory.mktemp("log")
    write(folder, ["a", "b", "c"])
    (file,) = folder.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:length])
    log = FinishedLog(folder)
    expected = content[:length].count(b"\n")
    assert len(log) == expected and read(folder, "abc") == list("abc"[:expected])


def test_damaged_lines_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, ["a", "b"])
    (file,) = tmp_path.iterdir()
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"junk\n" + first[:10] + b"\n" + second)
    assert read(tmp_path, "ab") == ["b"]
