"""The sub-command `predict` of tools/benchmark.py, without its runs, which take minutes."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from unified_seg.inference import Predictor
from unified_seg.inference.images import find_images

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def predict(benchmark_tool: Any) -> Any:
    return benchmark_tool.predict


def test_model_and_images_fit_each_other(predict: Any, tmp_path: Path, forget_datasets: None) -> None:
    predict.write_images(tmp_path / "images", 101, (16, 24))
    files = find_images([str(tmp_path / "images")])
    assert len(files) == 101 and Image.open(files[-1]).size == (24, 16)
    predictor = Predictor.from_checkpoint(predict.write_model(tmp_path / "model.pth"))
    outputs = predictor(predictor.read(files[0]))
    assert outputs["sem_seg_labels"].shape == (16, 24) and "panoptic_seg" in outputs


def test_lines_of_a_new_log_and_memory_are_read(predict: Any, tmp_path: Path) -> None:
    (tmp_path / "0001-0000.jsonl").write_text("a\nb\n")
    log = predict._Log(tmp_path)
    log.read()
    assert log.finished == 0
    for text, finished in (("a\nb", 1), ("a\nb\n", 2)):
        (tmp_path / "0002-0000.jsonl").write_text(text)
        log.read()
        assert log.finished == finished
    assert predict._read_memory(os.getpid()) > 10
    predict.plot(tmp_path / "memory.png", [predict.Sample(1, 100.0), predict.Sample(9, 101.0)], "a machine")
    assert Image.open(tmp_path / "memory.png").size[0] > 500
    assert json.dumps(predict.SMALL)
