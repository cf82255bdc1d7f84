"""The report after the last evaluation of a training, and with --eval-only."""

import logging
from pathlib import Path

import pytest
from detectron2.config import CfgNode
from random_model import write_random_model

from unified_seg.data.resolve import resolve_config
from unified_seg.html_reports.evaluation.evaluated_config import report_evaluation
from unified_seg.inference.trained_model import load_trained_model
from unified_seg.training.run import run
from unified_seg.training.trainer import Trainer


@pytest.mark.end_to_end
def test_training_and_evaluation_write_it(tiny_config: CfgNode, tmp_path: Path) -> None:
    config, weights = write_random_model(tiny_config, tmp_path)
    report = Path(tiny_config.OUTPUT_DIR) / "inference" / "report.html"
    run(["--config-file", str(config), "--eval-only", "MODEL.WEIGHTS", str(weights), "TEST.REPORT", "True"])
    assert f"{weights} on " in report.read_text()
    run(["--config-file", str(config), "SOLVER.MAX_ITER", "1", "TEST.REPORT", "True"])
    assert "model_final.pth on " in report.read_text()


def test_an_error_is_a_line_of_the_log_and_off_is_off(
    tiny_config: CfgNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_config.TEST.REPORT = True
    tiny_config.MODEL.WEIGHTS = str(write_random_model(tiny_config, tmp_path)[1])
    cfg, model = load_trained_model(resolve_config(tiny_config, for_inference=True))
    results, _ = Trainer.evaluate(cfg, model)
    folder = Path(cfg.OUTPUT_DIR) / "inference"
    (folder / cfg.DATASETS.TEST[0] / "segments.npz").unlink()
    (folder / "report.html").write_text("of earlier scores")
    with caplog.at_level(logging.WARNING):
        report_evaluation(cfg, model, results)
        cfg.defrost()
        cfg.TEST.REPORT = False
        report_evaluation(cfg, model, results)
    assert not (folder / "report.html").exists()
    (line,) = [record.getMessage() for record in caplog.records if "report.html" in record.getMessage()]
    assert "segments.npz" in line and "\n" not in line
