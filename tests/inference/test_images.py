import errno
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from unified_seg.config import ConfigError, get_config
from unified_seg.data.datasets.registration import register_dataset
from unified_seg.data.datasets.semantic_folder import build_semantic_table
from unified_seg.data.problems import DataError, WriteError
from unified_seg.inference.images import LeftOutFiles, find_fixed_folder, find_images, find_records, make_writable


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


def test_patterns_find_images_in_folders_with_brackets(images: Path) -> None:
    folder = images.rename(images.with_name("all [of them]"))
    found = [folder / "street [0].png", folder / "street [1].PNG", folder / "street [2].png"]
    assert find_images([str(folder)]) == find_images([f"{folder}/*"]) == find_images([f"{folder}/**"]) == found
    assert find_images([f"{folder}/street*.png"]) == [found[0], found[2]]
    assert find_images([f"{folder}/*.txt"]) == [folder / "notes.txt"]  # named by its suffix
    assert [find_fixed_folder(Path(f"{folder}{end}")) for end in ("", "/*", "/x*/*.png", "/notes.txt")] == [folder] * 4


@pytest.mark.parametrize("pattern", ["nothing", "*.jpg", "empty"])
def test_input_without_images_is_named(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"--input .*{pattern.strip('*')}"):
        find_images([str(tmp_path / pattern)])


def test_records_come_from_files_or_a_data_set(images: Path) -> None:
    cfg = get_config()
    one = str(images / "street [0].png")
    assert find_records([one], None, cfg) == [{"file_name": one}]
    name, records = "unified_test_of_images", [{"file_name": "a.png", "image_id": 1}]
    register_dataset(name, lambda: records, build_semantic_table(["road"], [(1, 2, 3)]))
    try:
        assert find_records(None, name, cfg) == records
        records = []
        with pytest.raises(DataError, match=f"--dataset {name}"):
            find_records(None, name, cfg)
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_records_of_a_data_set_have_the_ids_of_the_model() -> None:
    names = {"unified_test_trained": ["road", "sky"], "unified_test_drawn": ["sky", "road"]}
    record = {"file_name": "a.png", "image_id": 1, "sem_seg_file_name": "labels.png"}
    for name, classes in names.items():
        table = build_semantic_table(classes, [(1, 2, 3), (4, 5, 6)])
        register_dataset(name, lambda: [record], table)
    trained, drawn = names
    cfg = get_config()
    cfg.DATASETS.TRAIN = (trained,)
    try:
        assert find_records(None, trained, cfg) == [record]
        assert find_records(None, drawn, cfg) == [{**record, "sem_seg_values": {0: 1, 1: 0, 255: 255}}]
    finally:
        for name in names:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def test_output_folder_is_created(tmp_path: Path) -> None:
    make_writable(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"--output: .*file/folder"):
        make_writable(tmp_path / "file" / "folder")


def test_errors_of_one_file_are_collected_and_of_all_files_raised(capsys: pytest.CaptureFixture[str]) -> None:
    left_out = LeftOutFiles()
    invalid = UnicodeEncodeError("utf-8", "\udc80", 0, 1, "bad")
    for error in (DataError("a.png: damaged"), MemoryError("a lot"), invalid):
        with left_out.collect("\x1b[2J.png"):
            raise error
    assert len(left_out.errors) == 3 and "\x1b" not in capsys.readouterr().err
    for error in (ConfigError("MODEL: wrong"), WriteError.from_error(OSError(errno.ENOSPC, "full"), "b.png")):
        with pytest.raises(type(error)), left_out.collect():
            raise error
    with left_out.collect():
        raise WriteError.from_error(OSError(errno.ENAMETOOLONG, "too long"), "c.png")
    with pytest.raises(DataError, match="4 of 9 images"):
        left_out.raise_any(9)


def test_a_list_that_is_not_text_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("a.png\nb.png\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"list\.txt: line 1 .*UTF-8"):
        find_images([str(tmp_path / "list.txt")])
