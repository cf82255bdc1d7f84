"""The heads outside the tree, trained by their project's own command; the contract battery is in tests/heads."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from base_heads import SHAPES, make_inputs, make_targets
from detectron2.config import CfgNode
from example_heads import PROJECT, import_example_heads
from processes import run_script
from tiny_model import TINY, to_overrides

from unified_seg.config import load_config
from unified_seg.config.heads import registered_heads
from unified_seg.heads import build_semantic_head
from unified_seg.inference import Predictor
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.overview import draw_panels
from unified_seg.visualization.panels import Scene

import_example_heads()


def count_lines(source: str) -> int:
    return len([line for line in source.splitlines() if line.strip()])


def test_heads_are_as_short_as_promised() -> None:
    assert count_lines((PROJECT / "linear_head.py").read_text()) <= 40
    source = (PROJECT / "temperature_head.py").read_text()
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    assert count_lines(ast.get_source_segment(source, classes["TemperatureHead"])) <= 40


def test_library_has_no_line_about_them() -> None:
    library = PROJECT.parents[1] / "unified_seg"
    words = ("TemperatureHead", "LinearHead", "uncalibrated", "TEMPERATURE")
    assert [file.name for file in library.rglob("*.py") if any(word in file.read_text() for word in words)] == []


@pytest.fixture(scope="module")
def run_folder(tiny_dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a training of both heads."""
    folder = tmp_path_factory.mktemp("example_head")
    (folder / "datasets").mkdir()
    (folder / "datasets" / "toyscapes_demo").symlink_to(tiny_dataset.root)
    config = PROJECT / "configs" / "toyscapes_temperature.yaml"
    overrides = [*to_overrides(TINY), "SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "OUTPUT_DIR", folder / "out"]
    overrides += ["MODEL.SEM_SEG_HEAD.TEMPERATURE.VALUE", "2.0"]
    environment = {"DETECTRON2_DATASETS": str(folder / "datasets")}
    result = run_script(PROJECT / "train_net.py", "--config-file", config, *overrides, env=environment)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return folder / "out"


@pytest.mark.end_to_end
def test_training_ends_with_scores_of_the_wrapper(run_folder: Path) -> None:
    content = json.loads((run_folder / "inference" / "results.json").read_text())
    scores = content["results"]["unified_toyscapes_demo_val"]
    assert list(scores) == ["sem_seg", "sem_seg_uncalibrated", "calibration"]
    # The scaling changes no label, but the confidence.
    assert scores["sem_seg"] == scores["sem_seg_uncalibrated"]
    calibration = scores["calibration"]
    assert calibration.keys() == {"ECE uncalibrated", "ECE"} and calibration["ECE"] != calibration["ECE uncalibrated"]
    log = (run_folder / "log.txt").read_text()
    assert "mIoU uncalibrated" in log
    assert f"expected calibration error, %: ECE uncalibrated {calibration['ECE uncalibrated']:.2f}" in log


@pytest.mark.end_to_end
def test_confidence_is_drawn_beside_both_predictions(run_folder: Path) -> None:
    overrides = ["MODEL.WEIGHTS", str(run_folder / "model_final.pth"), "MODEL.UNIFIED.OUTPUT", "compact"]
    predictor = Predictor(load_config(run_folder / "config.yaml", overrides))
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    outputs = predictor(image)
    assert outputs["semantic_logit_maps"].keys() == {"uncalibrated", "calibrated"}
    scene = Scene(image, outputs, ClassTable.from_metadata(predictor.metadata))
    (picture,) = registered_heads()["TemperatureHead"].draw_pictures(scene)
    sheet = draw_panels(image, outputs, predictor.metadata, legend="none")
    # The input, the labels before and after the scaling, and in the last corner the confidence.
    height, width = picture.pixels.shape[:2]
    assert sheet.shape[0] >= 2 * height and sheet.shape[1] >= 2 * width
    assert np.array_equal(sheet[-height:, -width:], picture.pixels)


def test_logits_are_divided_and_losses_unchanged(tiny_config: CfgNode) -> None:
    torch.manual_seed(0)
    node = tiny_config.MODEL.SEM_SEG_HEAD
    node.NAME, node.NUM_CLASSES, node.TEMPERATURE.BASE, node.TEMPERATURE.VALUE = "TemperatureHead", 5, "LinearHead", 2.0
    head = build_semantic_head(tiny_config, SHAPES)
    prediction = head.predict(make_inputs())
    assert torch.equal(prediction.logits, prediction.base.logits / 2)
    losses, expected = head.losses(prediction, make_targets()), head.base.losses(prediction.base, make_targets())
    assert losses == expected
    node.TEMPERATURE.VALUE = 0.0
    with pytest.raises(ValueError, match=r"TEMPERATURE\.VALUE: must be above 0, got 0"):
        build_semantic_head(tiny_config, SHAPES)
