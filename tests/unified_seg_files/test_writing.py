import os
import stat
import threading
import time
from pathlib import Path

import pytest

from unified_seg_files import delete_files, delete_tree, remove_leftovers, write_atomically, write_text
from unified_seg_files.writing import TEMPORARY


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(KeyboardInterrupt), write_atomically(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert not list(path.parent.iterdir())
    with write_atomically(path, durable=True) as temporary:
        temporary.write_text("whole")
        assert not path.exists() and TEMPORARY.fullmatch(temporary.name)
    assert path.read_text() == "whole" and len(list(path.parent.iterdir())) == 1


def test_after_an_error_the_older_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("older")
    with pytest.raises(ValueError), write_atomically(path):
        raise ValueError
    assert path.read_text() == "older"


def test_two_writers_of_one_name_have_files_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with write_atomically(path) as one, write_atomically(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"


def test_readers_never_see_a_torn_file(tmp_path: Path) -> None:
    path, texts = tmp_path / "a.txt", {letter * 200_000 for letter in "ab"}
    write_text(path, "a" * 200_000)

    def write() -> None:
        for _ in range(30):
            for text in texts:
                write_text(path, text)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_text() in texts


def test_link_at_the_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a.txt"
    victim.write_text("precious")
    path.symlink_to(victim)
    write_text(path, "new")
    assert victim.read_text() == "precious" and path.read_text() == "new" and not path.is_symlink()


def test_links_at_names_that_can_be_guessed_are_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a.txt"
    victim.write_text("precious")
    for name in (".a.txt.tmp", "a.txt.tmp", "a.txt.part", "a.tmp"):
        (tmp_path / name).symlink_to(victim)
    write_text(path, "new")
    assert victim.read_text() == "precious"


def test_a_file_has_the_permissions_that_the_user_gives(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_long_names_are_written(tmp_path: Path) -> None:
    for name in ("a" * 251 + ".png", "ü" * 127):
        write_text(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"


def test_only_old_temporary_files_are_removed(tmp_path: Path) -> None:
    names = [
        ".a.txt.0123456789abcdef.tmp",
        ".b.mp4.0123456789abcdef.tmp.mp4",
        ".c.tmp",
        "d.txt",
        ".e.0123456789abcdef.tmp",
    ]
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    os.utime(tmp_path / names[-1])
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names[2:])
    remove_leftovers(tmp_path / "nowhere")
    remove_leftovers(tmp_path, seconds=0)
    assert {path.name for path in tmp_path.iterdir()} == {".c.tmp", "d.txt"}


def test_nothing_is_deleted_through_links(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    for each in (elsewhere, folder, folder / "sub.png"):
        each.mkdir()
    (elsewhere / "a.png").touch()
    (folder / "link.png").symlink_to(elsewhere / "a.png")
    (folder / "deep.png").symlink_to(elsewhere)
    (folder / "own.png").touch()
    (folder / "own.log").touch()
    delete_files(folder, (".png",))
    assert {path.name for path in folder.iterdir()} == {"own.log", "sub.png"}
    (tmp_path / "to_folder").symlink_to(elsewhere)
    with pytest.raises(OSError, match="is a link"):
        delete_files(tmp_path / "to_folder", (".png",))
    delete_tree(tmp_path / "to_folder")
    (folder / "to_elsewhere").symlink_to(elsewhere)
    delete_tree(folder)
    delete_tree(folder)
    assert not folder.exists() and (elsewhere / "a.png").is_file()
