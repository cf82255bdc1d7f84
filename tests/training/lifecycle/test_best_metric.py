"""TEST.BEST_CHECKPOINT_METRIC: its choice by the model and the ground truth. test_trainer.py has its errors."""

import pytest
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from unified_seg.data.resolve import resolve_config
from unified_seg.training.lifecycle.best_metric import choose_metric


@pytest.mark.parametrize(
    ("off", "metric"),
    [([], "panoptic_seg/PQ"), (["PANOPTIC_FUSION"], "sem_seg/mIoU"), (["PANOPTIC_FUSION", "SEM_SEG_HEAD"], "segm/AP")],
)
def test_metric_fits_the_model(tiny_config: CfgNode, off: list[str], metric: str) -> None:
    for part in off:
        tiny_config.MODEL[part].NAME = ""
    cfg = resolve_config(tiny_config)
    assert choose_metric(cfg) == metric
    tiny_config.DATASETS.TEST *= 2
    assert choose_metric(resolve_config(tiny_config)) == f"{cfg.DATASETS.TEST[0]}/{metric}"


def test_metric_fits_the_ground_truth(tiny_config: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    name = tiny_config.DATASETS.TEST[0]
    keys = ("pan_seg_file_name", "segments_info")
    records = [{k: v for k, v in record.items() if k not in keys} for record in DatasetCatalog.get(name)]
    monkeypatch.setattr(DatasetCatalog, "get", lambda _: records)
    assert choose_metric(resolve_config(tiny_config)) == "sem_seg/mIoU"


def test_given_metrics_stay_and_no_test_set_has_none(tiny_config: CfgNode) -> None:
    tiny_config.TEST.BEST_CHECKPOINT_METRIC = "segm/AP50"
    assert choose_metric(tiny_config) == "segm/AP50"
    tiny_config.TEST.BEST_CHECKPOINT_METRIC, tiny_config.DATASETS.TEST = "auto", ()
    assert choose_metric(tiny_config) == ""
