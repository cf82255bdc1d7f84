"""What a conversion may read and write."""

from pathlib import Path

import pytest

from unified_seg.data.conversion.paths import check_apart, files_in
from unified_seg.data.problems import DataError


@pytest.mark.parametrize(
    ("written", "read"), [("a", "a"), ("a/b", "a"), ("a", "a/b"), ("c/../a/b", "a"), ("link/b", "a")]
)
def test_outputs_in_and_around_inputs_are_refused(tmp_path: Path, written: str, read: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match=r"nothing is written into the input .*/a"):
        check_apart([tmp_path / "d", tmp_path / written], [None, tmp_path / read])


def test_outputs_beside_inputs_are_fine(tmp_path: Path) -> None:
    check_apart([tmp_path / "a/b", tmp_path / "ab"], [tmp_path / "a/c", tmp_path / "abc", None])


def test_files_are_found_sorted_and_by_suffix(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "folder.png").mkdir()
    for name in ("z.png", "sub/a.PNG", "a.txt", "b.png"):
        (tmp_path / name).touch()
    assert [f.relative_to(tmp_path).as_posix() for f in files_in(tmp_path, (".png",))] == [
        "b.png",
        "sub/a.PNG",
        "z.png",
    ]


def test_no_files_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.png or \.bmp file in it"):
        files_in(tmp_path, (".png", ".bmp"))
    with pytest.raises(DataError, match="absent: there is no such folder"):
        files_in(tmp_path / "absent", (".png",))
