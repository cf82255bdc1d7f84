"""The sub-commands `export` and `precision` of tools/benchmark.py."""

import json
from pathlib import Path
from typing import Any

import pytest
from detectron2.config import CfgNode
from PIL import Image
from tiny_predictors import draw_images, make_semantic, write_weights


@pytest.mark.end_to_end
def test_exported_model_equals_its_peers(benchmark_tool: Any) -> None:
    args = benchmark_tool.benchmark.parse_args(["export", "--size", "64x128", "--threads", "1"])
    for comparison in benchmark_tool.export.make_comparisons(args):
        comparison.assert_equal(comparison.method()(), comparison.peer()())


@pytest.mark.end_to_end
def test_scores_of_each_precision_are_written(benchmark_tool: Any, tiny_config: CfgNode, tmp_path: Path) -> None:
    weights = write_weights(make_semantic(tiny_config), tmp_path)
    for index, image in enumerate(draw_images((64, 128), (64, 128))):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    words = ["--weights", str(weights), "--dataset", tiny_config.DATASETS.TEST[0], "--calibration", str(tmp_path)]
    args = benchmark_tool.benchmark.parse_args(["precision", *words, "--json", str(tmp_path / "scores.json")])
    benchmark_tool.precision.report(args, "a machine")
    rows = json.loads((tmp_path / "scores.json").read_text())["rows"]
    assert [row["graph"] for row in rows] == ["PyTorch", "ONNX, float32", "ONNX, float16", "ONNX, int8"]
    assert rows[0]["mIoU"] == rows[1]["mIoU"] and rows[2]["MB"] < rows[1]["MB"]
