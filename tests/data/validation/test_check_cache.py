import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unified_seg.data.datasets.cityscapes import build_cityscapes_table
from unified_seg.data.problems import DataError, Problem
from unified_seg.data.validation import check_cache, checks
from unified_seg.data.validation.check_cache import CheckCache
from unified_seg_files import cache

TABLE = build_cityscapes_table()


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Five images at rest, in groups of two; the folder of results is empty."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(check_cache, "GROUP", 2)
    made = []
    for index in range(5):
        image, label = tmp_path / f"{index}.png", tmp_path / f"{index}_label.png"
        Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(image)
        Image.fromarray(np.full((4, 6), index, dtype=np.uint8)).save(label)
        made.append({"file_name": str(image), "sem_seg_file_name": str(label), "height": 4, "width": 6})
    monkeypatch.setattr(check_cache, "SECONDS_AT_REST", -3600)
    return made


def check(records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[np.ndarray, int]:
    """The histogram, and the number of images that were read."""
    read: list[Any] = []
    original = checks.check_record

    def count(record: Any, **settings: Any) -> Any:
        read.append(record)
        return original(record, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(checks, "check_record", count)
        return checks.check_labels(records, TABLE, "set", remember=True, **options), len(read)


def test_unchanged_files_are_not_read_again(records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    first, num_read = check(records, monkeypatch)
    assert num_read == 5 and first[:6].tolist() == [24] * 5 + [0]
    again, num_read = check(records, monkeypatch)
    assert num_read == 0 and np.array_equal(first, again)
    # Of two groups nothing has changed.
    label = Path(records[4]["sem_seg_file_name"])
    Image.fromarray(np.full((4, 6), 7, dtype=np.uint8)).save(label)
    changed, num_read = check(records, monkeypatch)
    assert num_read == 1 and changed[[4, 7]].tolist() == [0, 24]


def test_large_ids_and_names_that_are_no_text_are_remembered(
    records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = Path(records[0]["file_name"]).with_name(os.fsdecode(b"caf\xe9.png"))
    Path(records[0]["file_name"]).rename(name)
    records[0] |= {"file_name": str(name), "own_id": 2**100}
    assert check(records, monkeypatch)[1] == 5 and check(records, monkeypatch)[1] == 0
    records[0]["own_id"] += 1
    assert check(records, monkeypatch)[1] == 2


def test_a_file_of_the_same_size_and_time_is_read_again(
    records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(records, monkeypatch)
    label = Path(records[0]["sem_seg_file_name"])
    before = label.stat()
    Image.fromarray(np.full((4, 6), 1, dtype=np.uint8)).save(label)
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert check(records, monkeypatch)[1] == 2


def test_other_records_and_settings_are_checked_anew(
    records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(records, monkeypatch)
    assert check(records, monkeypatch, decode=True)[1] == 5
    with_values = [{**record, "sem_seg_values": {i: i for i in range(19)}} for record in records]
    assert check(with_values, monkeypatch)[1] == 5
    records[1]["height"] = 5
    with pytest.raises(DataError, match="its record has 5x6"):
        check(records, monkeypatch)


def test_problems_are_reported_each_time(records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    Path(records[3]["file_name"]).write_bytes(b"damaged")
    for _ in range(2):
        problems: list[Problem] = []
        assert check(records, monkeypatch, report=problems.append)[1] in (5, 2)
        assert [problem.file for problem in problems] == [records[3]["file_name"]]


def test_files_that_just_changed_have_no_result(records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_cache, "SECONDS_AT_REST", 3600)
    for _ in range(2):
        assert check(records, monkeypatch)[1] == 5


def test_a_damaged_or_unwritable_folder_only_costs_time(
    records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    check(records, monkeypatch)
    for file in (tmp_path / "cache").rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:-9])
    assert check(records, monkeypatch)[1] == 5
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "a file"))
    assert check(records, monkeypatch)[1] == 5


def test_arrays_in_records_are_part_of_their_key(records: list[dict[str, Any]]) -> None:
    results = CheckCache("settings")
    keys = [results.compute_key([{**records[0], "annotations": [{"segmentation": np.arange(n)}]}]) for n in (6, 8, 6)]
    assert keys[0] == keys[2] != keys[1] and None not in keys
    assert CheckCache("others").compute_key(records) != results.compute_key(records)
