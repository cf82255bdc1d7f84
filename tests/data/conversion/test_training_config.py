from pathlib import Path

import pytest

from unified_seg.config import load_config
from unified_seg.data.conversion.training_config import write_training_config
from unified_seg.structures.class_table import ClassTable, SegmentClass

SKY = SegmentClass("sky", 0, None, 1, "sky", (0, 0, 0))
CAR = SegmentClass("car", 1, 0, 2, "car", (9, 9, 9))


def test_config_names_the_data_and_trains_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("scenes")
    folder.mkdir()
    splits = {split: folder / f"panoptic_{split}.json" for split in ("train", "val")}
    file = write_training_config(folder, Path("photos"), splits, ClassTable([SKY, CAR]))
    assert file == folder / "config.yaml"
    cfg = load_config(file)
    assert (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST) == (("scenes_train",), ("scenes_val",))
    assert cfg.DATASETS.CUSTOM[0] == {
        "NAME": "scenes_train",
        "IMAGES": str(tmp_path / "photos"),
        "PANOPTIC": str(tmp_path / "scenes/panoptic_train.json"),
    }
    assert cfg.OUTPUT_DIR == "output/scenes" and cfg.MODEL.ROI_HEADS.NAME == "StandardROIHeads"
    file.write_text("SEED: 5")  # the user's
    assert write_training_config(folder, Path("photos"), splits, ClassTable([SKY, CAR])) is None
    assert load_config(file).SEED == 5


@pytest.mark.parametrize(
    ("folder", "name"), [("a (1)", "a _1_"), (".hidden", "hidden"), ("Fotos März", "Fotos März"), ("-", "data")]
)
def test_names_of_folders_become_names_of_data_sets(folder: str, name: str, tmp_path: Path) -> None:
    file = write_training_config(tmp_path / folder, tmp_path, {"": tmp_path / "panoptic.json"}, ClassTable([SKY]))
    assert file is not None and (name,) == load_config(file).DATASETS.TRAIN


def test_stuff_alone_has_no_detector_and_no_split_no_evaluation(tmp_path: Path) -> None:
    file = write_training_config(tmp_path / "a b", tmp_path, {"": tmp_path / "panoptic.json"}, ClassTable([SKY]))
    assert file is not None
    cfg = load_config(file)
    assert (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST, cfg.MODEL.ROI_HEADS.NAME) == (("a b",), (), "")
