from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog

from unified_seg.data.problems import DataError
from unified_seg.inference.images import find_images, find_records, make_writable


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("street [0].png", "street [1].PNG", "street [2].png", "notes.txt"):
        (folder / name).touch()
    return folder


def test_inputs_are_files_folders_and_patterns_each_once(images: Path) -> None:
    first, second = images / "street [0].png", images / "street [1].PNG"
    found = find_images([str(second), f"{images}/street*.png", str(images), str(first)])
    assert found == [second, first, images / "street [2].png"]


def test_trees_are_searched_for_images_alone(images: Path) -> None:
    for name in ("a/b/1.jpg", "a/2.tif", "a/notes.txt", ".hidden/3.png", "__MACOSX/4.png", "a/._1.jpg"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).touch()
    tree = [images / "a/2.tif", images / "a/b/1.jpg"]
    assert find_images([str(images / "a")]) == tree == find_images([f"{images}/**/[12].*"])
    assert find_images([str(images / "__MACOSX"), str(images / "a/._1.jpg")])  # what the user names is meant


@pytest.mark.parametrize("pattern", ["nothing", "*.jpg", "empty"])
def test_input_without_images_is_named(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"--input .*{pattern.strip('*')}"):
        find_images([str(tmp_path / pattern)])


def test_records_come_from_files_or_a_data_set(images: Path) -> None:
    assert find_records([str(images / "street [0].png")], None) == [{"file_name": str(images / "street [0].png")}]
    name, records = "unified_test_of_images", [{"file_name": "a.png", "image_id": 1}]
    DatasetCatalog.register(name, lambda: records)
    try:
        assert find_records(None, name) == records
        records = []
        with pytest.raises(DataError, match=f"--dataset {name}"):
            find_records(None, name)
    finally:
        DatasetCatalog.remove(name)


def test_output_folder_is_created(tmp_path: Path) -> None:
    make_writable(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"--output: .*file/folder"):
        make_writable(tmp_path / "file" / "folder")
