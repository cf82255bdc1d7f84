from pathlib import Path

import pytest

from unified_seg.data.problems import DataError
from unified_seg.errors import UserError
from unified_seg.inference.files.sources import FileSource, RecordSource, check_names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/x.jpg", "a.png", "b/c/x.jpg", "out/a.png", "notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(source: FileSource | RecordSource) -> list[str]:
    return [item.file_name for item in source]


def test_names_are_relative_to_the_inputs(folder: Path) -> None:
    out = folder / "out"
    assert names(FileSource([str(folder)], out)) == ["a.png", "b/x.jpg", "b/c/x.jpg"]
    assert names(FileSource([f"{folder}/b/**"], out)) == ["c/x.jpg", "x.jpg"]
    assert names(FileSource([f"{folder}/b/c/x.jpg", f"{folder}/a.png"], out)) == ["x.jpg", "a.png"]
    assert [item.image_id for item in FileSource([str(folder / "b")], out)] == ["x", "c/x"]


def test_lists_have_the_names_below_their_common_folder(folder: Path) -> None:
    (folder / "list.txt").write_bytes(b"b/c/x.jpg\r\n\n" + str(folder / "b/x.jpg").encode())
    assert names(FileSource([str(folder / "list.txt")], folder / "out")) == ["c/x.jpg", "x.jpg"]


def test_records_have_their_ids_and_the_names_below_their_common_folder(folder: Path) -> None:
    records = [{"file_name": str(folder / name), "image_id": i} for i, name in enumerate(["b/x.jpg", "b/c/x.jpg"])]
    assert names(RecordSource(records)) == ["x.jpg", "c/x.jpg"]
    assert [item.image_id for item in RecordSource(records)] == [0, 1]


def test_equal_names_and_no_images_are_refused(folder: Path) -> None:
    check_names(FileSource([str(folder)], folder / "out"))
    (folder / "b/x.png").touch()
    with pytest.raises(UserError, match=r"b/x\.jpg and .*b/x\.png would have the same results, b/x; 1 such"):
        check_names(FileSource([str(folder)], folder / "out"))
    with pytest.raises(DataError, match="--output"):
        check_names(FileSource([str(folder / "out")], folder / "out"))


def test_the_message_has_the_two_files_of_one_name(folder: Path) -> None:
    names = ("a.png", "b.png", "a.jpg", "b.jpg")
    records = [{"file_name": str(folder / name), "image_id": index} for index, name in enumerate(names)]
    with pytest.raises(UserError, match=r"/a\.png and .*/a\.jpg would have the same results, a; 2 such"):
        check_names(RecordSource(records))


def test_results_below_the_inputs_are_none_also_by_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to(folder / "out")
    assert "out/a.png" not in names(FileSource([str(folder)], folder / "link"))


def test_an_image_that_is_named_twice_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"a\.png is named twice"):
        check_names(FileSource([str(folder / "a.png")] * 2, folder / "out"))


def test_keys_tell_a_file_from_another_one_of_its_name(folder: Path) -> None:
    source = FileSource([str(folder / "a.png")], folder / "elsewhere")
    before = list(source.iterate_keys())
    assert before == list(source.iterate_keys())
    (folder / "a.png").write_bytes(b"new")
    other = list(FileSource([str(folder / "out/a.png")], folder / "elsewhere").iterate_keys())
    assert len({*before, *source.iterate_keys(), *other}) == 3
