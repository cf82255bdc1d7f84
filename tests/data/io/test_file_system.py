from pathlib import Path

import pytest

from unified_seg.data.io.file_system import list_files, resolve_below, write_atomically
from unified_seg.data.problems import RecordError


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    inside, elsewhere = tmp_path / "inside", tmp_path / "elsewhere"
    for folder in (inside / "b", elsewhere):
        folder.mkdir(parents=True)
        (folder / "2.txt").touch()
        (folder / "1.txt").touch()
    (inside / "a").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(inside)
    assert [file.relative_to(inside).as_posix() for file in list_files(inside)] == [
        "a/1.txt",
        "a/2.txt",
        "b/1.txt",
        "b/2.txt",
    ]


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(KeyboardInterrupt), write_atomically(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert not list(path.parent.iterdir())
    with write_atomically(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists() and temporary.name == ".a.txt.tmp"
    assert path.read_text() == "whole" and len(list(path.parent.iterdir())) == 1


def test_after_an_error_the_older_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("older")
    with pytest.raises(ValueError), write_atomically(path):
        raise ValueError
    assert path.read_text() == "older"


def test_names_stay_in_their_folder(tmp_path: Path):
    (tmp_path / "root").mkdir()
    assert resolve_below(tmp_path / "root", "a/../b c.jpg").resolve() == tmp_path / "root" / "b c.jpg"
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    assert resolve_below(tmp_path / "root", str(tmp_path / "root/a.jpg")) == tmp_path / "root/a.jpg"
    (tmp_path / "root" / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    for name in ("../root2/a.jpg", "/etc/passwd", "a/../../b.jpg", "link/a.jpg", "link.jpg", "", "."):
        with pytest.raises(RecordError, match="leads out of") as error:
            resolve_below(tmp_path / "root", name)
        assert error.value.kind == "path"
    with pytest.raises(RecordError, match=r"leads out of .* or names no file"):
        resolve_below(tmp_path, "a\0b")
