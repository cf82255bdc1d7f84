from pathlib import Path

from unified_seg.data.io.folders import files_below


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    inside, elsewhere = tmp_path / "inside", tmp_path / "elsewhere"
    for folder in (inside / "b", elsewhere):
        folder.mkdir(parents=True)
        (folder / "2.txt").touch()
        (folder / "1.txt").touch()
    (inside / "a").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(inside)
    assert [file.relative_to(inside).as_posix() for file in files_below(inside)] == [
        "a/1.txt",
        "a/2.txt",
        "b/1.txt",
        "b/2.txt",
    ]
