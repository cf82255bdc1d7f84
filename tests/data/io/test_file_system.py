from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.data.io.file_system import glob_files, list_files, resolve_below
from unified_seg.data.problems import RecordError


def test_two_links_to_one_folder_are_both_followed(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "1.png").touch()
    (tmp_path / "root").mkdir()
    for name in ("a", "b"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "common")
    assert list(list_files(tmp_path / "root")) == [tmp_path / "root" / name / "1.png" for name in ("a", "b")]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
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


def test_names_stay_in_their_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    assert resolve_below(root, "a/../b c.jpg") == root / "b c.jpg"
    assert resolve_below(root, str(root / "a.jpg")) == root / "a.jpg"
    for name in ("../root2/a.jpg", "/etc/passwd", "a/../../b.jpg", f"{root}2/a.jpg", f"{root}/../b.jpg", "", "."):
        with pytest.raises(RecordError, match="leads out of") as error:
            resolve_below(root, name)
        assert error.value.kind == "path"
    with pytest.raises(RecordError, match=r"leads out of .* or names no file"):
        resolve_below(tmp_path, "a\0b")


def test_links_of_files_and_folders_are_followed(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.jpg").write_text("image")
    (root / "folder").symlink_to(elsewhere)
    (root / "b.jpg").symlink_to(elsewhere / "a.jpg")
    (tmp_path / "linked_root").symlink_to(root)
    for base in (root, tmp_path / "linked_root"):
        for name in ("folder/a.jpg", "b.jpg", "folder\\a.jpg", str(root / "b.jpg"), str(base / "folder/a.jpg")):
            assert resolve_below(base, name).read_text() == "image"


@pytest.mark.parametrize("name", ["x\\a.jpg", ".\\x\\a.jpg", "x/y\\..\\a.jpg", "x//a.jpg"])
def test_backslashes_are_slashes(name: str, tmp_path: Path) -> None:
    assert resolve_below(tmp_path, name) == tmp_path / "x" / "a.jpg"


@pytest.mark.parametrize("name", ["..\\a.jpg", "x\\..\\..\\a.jpg", "C:\\a.jpg", "d:a.jpg", "\\\\server\\share\\a.jpg"])
def test_windows_names_that_climb_out_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="leads out of"):
        resolve_below(tmp_path, name)


PARTS = st.sampled_from(["a", "b c", "..", ".", "...", "é", "C:", ""])


@given(st.lists(PARTS, min_size=1, max_size=6), st.sampled_from(["/", "\\"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_name_climbs_out(parts: list[str], separator: str, absolute: bool) -> None:
    """A name is refused exactly if a walk along its parts leaves the root, or ends at it."""
    name = separator * absolute + separator.join(parts)
    depth, lowest = 0, 0
    for part in parts:
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        lowest = min(lowest, depth)
    is_absolute = name.startswith(separator)
    root = Path("/root/of images")
    try:
        path = resolve_below(root, name)
    except RecordError:
        assert is_absolute or lowest < 0 or depth == 0 or parts[0] == "C:" or "C:" in parts
    else:
        assert not is_absolute and depth > 0
        assert path.is_relative_to(root) and ".." not in path.parts and len(path.parts) == len(root.parts) + depth


NO_DATA = ["._a.png", ".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini", ".hidden.png", "~$notes.png"]
NO_DATA_FOLDERS = ["__MACOSX", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", ".git"]


@given(
    st.lists(st.sampled_from(["a.png", "b.png", "x y.png", "1.jpg"]), unique=True, max_size=4),
    st.lists(st.sampled_from(NO_DATA), unique=True, max_size=4),
    st.lists(st.sampled_from(NO_DATA_FOLDERS), unique=True, max_size=3),
)
@settings(max_examples=25, deadline=None)
def test_files_that_are_no_data_are_not_listed(
    tmp_path_factory: pytest.TempPathFactory, data: list[str], others: list[str], folders: list[str]
) -> None:
    root = tmp_path_factory.mktemp("root")
    for folder in ("sub", *folders):
        (root / folder).mkdir()
        for name in (*data, *others):
            (root / folder / name).touch()
    assert list(list_files(root)) == [root / "sub" / name for name in sorted(data)]
    assert glob_files(root, "*/*.png") == [root / "sub" / name for name in sorted(data) if name.endswith(".png")]


def test_data_in_a_hidden_folder_are_listed(tmp_path: Path) -> None:
    root = tmp_path / ".cache" / "images"
    root.mkdir(parents=True)
    (root / "a.png").touch()
    assert list(list_files(root)) == [root / "a.png"] == glob_files(root, "*.png")
