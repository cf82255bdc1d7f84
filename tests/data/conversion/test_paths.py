"""The files that a conversion reads and writes."""

from pathlib import Path

import pytest

from unified_seg.data.conversion.paths import check_apart, find_files
from unified_seg.data.problems import DataError


@pytest.mark.parametrize(
    ("written", "read"), [("a", "a"), ("a/b", "a"), ("a", "a/b"), ("c/../a/b", "a"), ("link/b", "a")]
)
def test_outputs_overlapping_inputs_are_refused(tmp_path: Path, written: str, read: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match=r"the output must not overlap with the input .*/a"):
        check_apart([tmp_path / "d", tmp_path / written], [None, tmp_path / read])


def test_outputs_beside_inputs_are_accepted(tmp_path: Path) -> None:
    check_apart([tmp_path / "a/b", tmp_path / "ab"], [tmp_path / "a/c", tmp_path / "abc", None])


def test_files_are_found_sorted_and_by_suffix(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "folder.png").mkdir()
    for name in ("z.png", "sub/a.PNG", "a.txt", "b.png"):
        (tmp_path / name).touch()
    assert [f.relative_to(tmp_path).as_posix() for f in find_files(tmp_path, (".png",))] == [
        "b.png",
        "sub/a.PNG",
        "z.png",
    ]


def test_empty_and_absent_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.png or \.bmp file in it"):
        find_files(tmp_path, (".png", ".bmp"))
    with pytest.raises(DataError, match="absent: there is no such folder"):
        find_files(tmp_path / "absent", (".png",))
