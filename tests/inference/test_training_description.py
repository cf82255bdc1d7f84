import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from random_model import random_state, write_random_model

from unified_seg.checkpoint import CheckpointError, write_checkpoint
from unified_seg.config import ConfigError, get_config
from unified_seg.data.datasets.alignment import model_classes
from unified_seg.data.datasets.registration import dataset_classes, describe_classes, register_classes
from unified_seg.data.resolve import resolve_config
from unified_seg.inference import Predictor
from unified_seg.inference.training_description import (
    CLASS_NAMES,
    CLASSES,
    CONFIG,
    check_class_order,
    check_training,
    describe_training,
    load_model_config,
)


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_config()
    cfg.MODEL.WEIGHTS, cfg.DATASETS.TRAIN = "model.pth", ("streets",)
    cfg.MODEL.SEM_SEG_HEAD.CLASS_NAMES = ["road", "sky", "car"]
    return cfg


@pytest.fixture
def trained(tiny_config: CfgNode, forget_datasets: None) -> CfgNode:
    return resolve_config(tiny_config)


@pytest.fixture
def checkpoint(trained: CfgNode, tmp_path: Path) -> Path:
    """As a training writes it."""
    file = tmp_path / "model_final.pth"
    write_checkpoint(file, {"model": random_state(trained), "trainer": describe_training(trained)})
    return file


@pytest.mark.parametrize("names", [["road", "sky", "car"], [], None])
def test_weights_of_the_same_or_unknown_classes_are_accepted(
    names: list[str] | None, cfg: CfgNode, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = {} if names is None else {CLASS_NAMES: names}
    check_training(cfg, {"trainer": trainer})
    check_training(cfg, trainer)
    assert not caplog.records


def test_another_order_of_classes_is_refused(cfg: CfgNode) -> None:
    with pytest.raises(CheckpointError, match=r"model\.pth: .*sky, road, car.*'streets'.*road, sky, car.*order"):
        check_training(cfg, {"trainer": {CLASS_NAMES: ["sky", "road", "car"]}})


def test_other_names_of_classes_are_logged(cfg: CfgNode, caplog: pytest.LogCaptureFixture) -> None:
    check_class_order(cfg, ["road", "sky", "auto"])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "auto" in record.message


@pytest.mark.parametrize("form", ["trainer", "weights alone"])
def test_a_checkpoint_predicts_without_config_file_and_data(
    form: str, trained: CfgNode, checkpoint: Path, tmp_path: Path
) -> None:
    expected = Predictor(_with_weights(trained, checkpoint))
    if form == "weights alone":
        write_checkpoint(checkpoint, {"model": random_state(trained), **describe_training(trained)})
    found = Predictor.from_checkpoint(checkpoint)
    assert dataset_classes(found.metadata).classes == model_classes(trained).classes
    assert found.metadata.name not in trained.DATASETS.TRAIN and not DatasetCatalog.get(found.metadata.name)
    image = torch.randint(0, 256, (40, 60, 3), generator=torch.Generator().manual_seed(0)).byte().numpy()
    labels = expected(image)["sem_seg"].argmax(0)
    assert torch.equal(found(image)["sem_seg_labels"].long(), labels)


def test_a_checkpoint_is_plain_data(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    assert content["trainer"][CLASSES]["stuff_classes"][10] == "sky"


def test_overrides_and_the_data_set_to_predict_are_taken(checkpoint: Path, trained: CfgNode) -> None:
    cfg = load_model_config(str(checkpoint), ["TEST.IMAGES_AT_ONCE", "3"], dataset=trained.DATASETS.TEST[0])
    assert cfg.TEST.IMAGES_AT_ONCE == 3 and cfg.DATASETS.TEST == trained.DATASETS.TEST
    assert model_classes(resolve_config(cfg)).classes == model_classes(trained).classes


def test_older_weights_need_a_config(tiny_config: CfgNode, tmp_path: Path) -> None:
    config, weights = write_random_model(tiny_config, tmp_path)
    assert Predictor.from_checkpoint(weights).metadata.name == tiny_config.DATASETS.TRAIN[0]  # config.yaml beside them
    config.rename(tmp_path / "other.yaml")
    with pytest.raises(CheckpointError, match=r"model\.pth.*--config-file"):
        load_model_config(str(weights))
    assert str(weights) == load_model_config(str(weights), config_file=tmp_path / "other.yaml").MODEL.WEIGHTS


def test_a_config_that_differs_from_that_of_the_training_is_logged(
    trained: CfgNode, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def warn() -> list[str]:
        caplog.clear()
        Predictor(cfg)
        return [record.message for record in caplog.records if record.levelno >= logging.WARNING]

    cfg = _with_weights(trained, checkpoint)
    assert not warn()
    cfg.defrost()
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.3  # which detections are kept is no matter of the weights
    cfg.MODEL.PIXEL_MEAN = [1.0, 2.0, 3.0]
    (message,) = warn()
    assert "MODEL.PIXEL_MEAN was [" in message and "SCORE_THRESH" not in message


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (CONFIG, "OUTPUT_DIR: s3://bucket\n", "OUTPUT_DIR"),
        (CONFIG, "MODEL: {LOAD_PROPOSALS: true}\n", r"MODEL\.LOAD_PROPOSALS"),
        (CONFIG, "SOLVER: {MAX_ITER: many}\n", r"SOLVER\.MAX_ITER"),
        (CONFIG, "- a list\n", "yaml"),
        (CONFIG, "!!python/name:os.system\n", "yaml"),
        (CONFIG, 5, "config"),
        (CLASSES, ["road"], CLASSES),
        (CLASSES, {"stuff_classes": "road"}, "stuff_classes"),
        (CLASSES, {"stuff_classes": ["road"], "stuff_dataset_id_to_contiguous_id": {1: 5}}, "5"),
        (CLASSES, {}, CLASSES),
    ],
)
def test_damaged_and_unsafe_entries_are_refused(key: str, value: Any, message: str, tmp_path: Path) -> None:
    state = {CONFIG: "SOLVER: {MAX_ITER: 5}\n", CLASSES: {"stuff_classes": ["road", "sky"]}, key: value}
    write_checkpoint(tmp_path / "model.pth", {"model": {"a": torch.zeros(1)}, "trainer": state})
    with pytest.raises((CheckpointError, ConfigError), match=rf"{message}"):
        load_model_config(str(tmp_path / "model.pth"))


def test_unknown_keys_and_stages_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "MODEL: {NEWER_KEY: 1}\nSTAGES: {base: {SOLVER: {MAX_ITER: 5}}}\nSOLVER: {STAGES: [base], MAX_ITER: 7}\n"
    state = {CONFIG: text, CLASSES: {"stuff_classes": ["road", "sky"]}}
    write_checkpoint(tmp_path / "model.pth", {"model": {"a": torch.zeros(1)}, "trainer": state})
    cfg = load_model_config(str(tmp_path / "model.pth"))
    assert cfg.SOLVER.MAX_ITER == 7 and not cfg.SOLVER.STAGES and not cfg.STAGES
    assert [record for record in caplog.records if "MODEL.NEWER_KEY" in record.message]


@pytest.mark.parametrize("name", ["coco_2017_val_panoptic_separated", "coco_2017_val_panoptic", "unified_voc2012_val"])
def test_classes_of_every_convention_survive(name: str, forget_datasets: None) -> None:
    metadata = MetadataCatalog.get(name)
    copy = register_classes(describe_classes(metadata))
    assert register_classes(json.loads(json.dumps(describe_classes(metadata)))) == copy
    table, same = dataset_classes(metadata), dataset_classes(MetadataCatalog.get(copy))
    assert table.classes == same.classes and table.ignore_label == same.ignore_label


def _with_weights(cfg: CfgNode, file: Path) -> CfgNode:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = str(file)
    return cfg
