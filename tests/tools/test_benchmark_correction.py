"""tools/benchmark.py correction, at a tiny size."""

import json
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "projects/error_correction/configs/toyscapes_asp_rp.yaml"
SMALL = ["correction", "--size", "64x128", "--config-file", str(CONFIG)]


def test_it_measures_and_writes(benchmark_tool, monkeypatch, tmp_path):
    """The run also asserts that the base head predicts the same labels."""
    monkeypatch.setattr(benchmark_tool.harness, "peak_on_cpu", lambda prepare, threads: None)
    path = tmp_path / "measured.json"
    benchmark_tool.benchmark.main([*SMALL, "--repeats", "1", "--threads", "1", "--json", str(path)])
    measured = json.loads(path.read_text())
    assert [each["name"] for each in measured] == [
        "inference with error branch",
        "inference with error branch and detail branch",
    ]


def test_cells_with_several_classes_are_borders(benchmark_tool):
    labels = torch.zeros(8, 8, dtype=torch.long)
    labels[:, 4:] = 1  # a border between cells, not in one
    labels[5, 5] = 2
    assert benchmark_tool.correction.class_borders(labels, 4).tolist() == [[[False, False], [False, True]]]


def test_another_prediction_of_the_base_head_is_found(benchmark_tool):
    _, corrected = (args := benchmark_tool.benchmark.parse_args(SMALL)).command.make_comparisons(args)
    method, peer = corrected.method()(), corrected.peer()()
    corrected.assert_equal(method, peer)
    assert not torch.equal(method["sem_seg_labels"], peer["sem_seg_labels"])
    with pytest.raises(AssertionError, match="other labels"):
        corrected.assert_equal(method, {"sem_seg_labels": peer["sem_seg_labels"] + 1})


def test_a_config_of_another_head_is_refused(benchmark_tool):
    config = ROOT / "configs/toyscapes/unified_demo.yaml"
    with pytest.raises(SystemExit, match=r"unified_demo\.yaml: MODEL\.SEM_SEG_HEAD\.NAME must be ErrorCorrectionHead"):
        benchmark_tool.benchmark.main([*SMALL, "--config-file", str(config)])
