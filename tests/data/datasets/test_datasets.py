import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from unified_seg.data.datasets import get_datasets_root, register_all
from unified_seg.data.datasets.cityscapes import load_cityscapes_like
from unified_seg.data.problems import DataError


@pytest.fixture
def folder(tiny_dataset: Any, tmp_path: Path) -> Path:
    """A copy of the hand-drawn data set to spoil."""
    return Path(shutil.copytree(tiny_dataset.root, tmp_path / "streets"))


def panoptic_json(folder: Path) -> Path:
    return folder / "gtFine/cityscapes_panoptic_train.json"


def edit(folder: Path, change: Any) -> None:
    content = json.loads(panoptic_json(folder).read_text())
    change(content)
    panoptic_json(folder).write_text(json.dumps(content))


def test_records_name_all_files(tiny_dataset: Any) -> None:
    records = load_cityscapes_like(tiny_dataset.root, "train")
    assert [r["image_id"] for r in records] == [f"alpha_{i:06d}_000019" for i in range(4)]
    for record in records:
        assert (record["height"], record["width"]) == (64, 128)
        for key in ("file_name", "sem_seg_file_name", "pan_seg_file_name", "instance_ids_file_name"):
            assert Path(record[key]).is_file()
            assert record["image_id"] in record[key]
    kinds = {(s["id"], s["category_id"], s["isthing"], s["iscrowd"]) for s in records[3]["segments_info"]}
    # Sky 23 has semantic id 10, building 11 has 2, road 7 has 0; a group of persons (thing 0) has the plain id 24.
    assert kinds == {(23, 10, False, 0), (11, 2, False, 0), (7, 0, False, 0), (24, 0, True, 1)}
    assert {s["category_id"] for s in records[0]["segments_info"] if s["isthing"]} == {0, 2}


def test_data_sets_are_registered_with_their_classes() -> None:
    names = set(DatasetCatalog.list())
    for variant in ("toyscapes", "toyscapes_demo", "toyscapes_256x512"):
        assert {f"unified_{variant}_{split}" for split in ("train", "heldout", "val")} <= names
    assert {f"unified_cityscapes_{split}" for split in ("train", "val", "test")} <= names
    metadata = MetadataCatalog.get("unified_cityscapes_val")
    assert metadata.evaluator_type == "unified_seg"
    assert (metadata.ignore_label, metadata.label_divisor) == (255, 1000)
    assert Path(metadata.panoptic_json).name == "cityscapes_panoptic_val.json"


def test_the_root_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert get_datasets_root() == Path("datasets")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert get_datasets_root() == tmp_path


def test_a_name_can_be_registered_once(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="already registered"):
        register_all(tmp_path)


def test_test_split_has_images_only(folder: Path) -> None:
    (folder / "leftImg8bit/train").rename(folder / "leftImg8bit/test")
    record = load_cityscapes_like(folder, "test")[0]
    assert record.keys() == {"file_name", "image_id", "height", "width"}
    assert (record["height"], record["width"]) == (64, 128)


def test_a_missing_folder_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"leftImg8bit/val: there is no such folder; .*see datasets/README\.md"):
        load_cityscapes_like(tmp_path / "cityscapes", "val")
    with pytest.raises(DataError, match=r"there is no such folder; `make demo` makes it"):
        load_cityscapes_like(tmp_path / "toyscapes_demo", "val")


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit/val").mkdir(parents=True)
    with pytest.raises(DataError, match=r"leftImg8bit/val: no \*/\*_leftImg8bit\.png in it"):
        load_cityscapes_like(tmp_path, "val")


@pytest.mark.parametrize("kind", ["labelTrainIds", "instanceIds"])
def test_an_image_without_its_label_is_an_error(kind: str, folder: Path) -> None:
    (label,) = folder.glob(f"gtFine/train/alpha/*000002_*_{kind}.png")
    label.unlink()
    with pytest.raises(DataError, match=rf"000002_000019_leftImg8bit\.png: its label .*{kind}\.png does not exist"):
        load_cityscapes_like(folder, "train")


def test_an_image_without_an_entry_is_an_error(folder: Path) -> None:
    edit(folder, lambda content: content["annotations"].pop(1))
    with pytest.raises(DataError, match=r"000001_000019_leftImg8bit\.png: its image id .* is not in cityscapes_panop"):
        load_cityscapes_like(folder, "train")


def test_an_entry_without_an_image_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (image,) = folder.glob("leftImg8bit/train/alpha/*000001_*")
    image.unlink()
    assert len(load_cityscapes_like(folder, "train")) == 3
    assert "1 images are not in" in caplog.text and "alpha_000001_000019" in caplog.text


def test_a_missing_json_is_an_error(folder: Path) -> None:
    panoptic_json(folder).unlink()
    with pytest.raises(
        DataError, match=r"cityscapes_panoptic_train\.json: there is no such file; .*prepare_cityscapes"
    ):
        load_cityscapes_like(folder, "train")


def test_a_broken_json_is_named(folder: Path) -> None:
    panoptic_json(folder).write_text('{"images": [')
    with pytest.raises(DataError, match=r"cityscapes_panoptic_train\.json: not readable as JSON"):
        load_cityscapes_like(folder, "train")


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"images": [], "annotations": [{}]}', '{"images": 5, "annotations": []}']
)
def test_json_of_another_kind_is_named(text: str, folder: Path) -> None:
    panoptic_json(folder).write_text(text)
    with pytest.raises(DataError, match=r"cityscapes_panoptic_train\.json: "):
        load_cityscapes_like(folder, "train")


def test_an_unknown_category_is_an_error(folder: Path) -> None:
    def change(content: Any) -> None:
        content["annotations"][0]["segments_info"][0]["category_id"] = 99

    edit(folder, change)
    with pytest.raises(
        DataError, match=r"train\.json: .*image 'alpha_000000_000019'.*segment 0: unknown category_id 99"
    ):
        load_cityscapes_like(folder, "train")


def test_an_annotation_without_its_image_entry_is_an_error(folder: Path) -> None:
    edit(folder, lambda content: content["images"].pop(0))
    with pytest.raises(DataError, match=r"image id 'alpha_000000_000019' is not among the images"):
        load_cityscapes_like(folder, "train")


def test_a_file_name_may_not_leave_the_folder(folder: Path) -> None:
    def change(content: Any) -> None:
        content["annotations"][0]["file_name"] = "../../../elsewhere.png"

    edit(folder, change)
    with pytest.raises(
        DataError, match=r"train\.json: .*image 'alpha_000000_000019'.*: file_name .*elsewhere\.png' leads out"
    ):
        load_cityscapes_like(folder, "train")
