import logging

import pytest

from unified_seg.checkpoint import CheckpointError
from unified_seg.config import CfgNode, get_config
from unified_seg.inference.class_order import CLASS_NAMES, check_class_order


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_config()
    cfg.MODEL.WEIGHTS, cfg.DATASETS.TRAIN = "model.pth", ("streets",)
    cfg.MODEL.SEM_SEG_HEAD.CLASS_NAMES = ["road", "sky", "car"]
    return cfg


@pytest.mark.parametrize("names", [["road", "sky", "car"], [], None])
def test_weights_of_the_same_or_unknown_classes_are_accepted(
    names: list[str] | None, cfg: CfgNode, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = {} if names is None else {CLASS_NAMES: names}
    check_class_order(cfg, {"trainer": trainer})
    check_class_order(cfg, trainer)
    assert not caplog.records


def test_another_order_of_classes_is_refused(cfg: CfgNode) -> None:
    with pytest.raises(CheckpointError, match=r"model\.pth: .*sky, road, car.*'streets'.*road, sky, car.*order"):
        check_class_order(cfg, {"trainer": {CLASS_NAMES: ["sky", "road", "car"]}})


def test_other_names_of_classes_are_logged(cfg: CfgNode, caplog: pytest.LogCaptureFixture) -> None:
    check_class_order(cfg, {CLASS_NAMES: ["road", "sky", "auto"]})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "auto" in record.message
