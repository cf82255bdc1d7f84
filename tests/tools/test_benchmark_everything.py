"""tools/benchmark.py everything, at a tiny size."""

import json
from pathlib import Path

import pytest
import torch
import yaml

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["everything", "--size", "64x128"]


def test_it_measures_and_writes(benchmark_tool, monkeypatch, tmp_path):
    """The run also asserts equal detections in all models."""
    monkeypatch.setattr(benchmark_tool.harness, "peak_on_cpu", lambda prepare, threads: None)
    path = tmp_path / "measured.json"
    benchmark_tool.benchmark.main([*SMALL, "--repeats", "1", "--threads", "1", "--json", str(path)])
    measured = json.loads(path.read_text())
    # The names are those of the rows of the ablation, with which they go into one table.
    rows = yaml.safe_load((ROOT / "projects/everything/ablation.yaml").read_text())["rows"]
    assert [measured[0]["against"], *(each["name"] for each in measured)] == [row["name"] for row in rows[:4]]


def test_the_models_share_their_weights(benchmark_tool, tmp_path):
    tool = benchmark_tool.everything
    *_, last = tool.ADDED
    torch.manual_seed(1)
    trained = tool.build_model(tool.read_model_config(last, "cpu"))
    torch.save({"model": trained.state_dict()}, tmp_path / "weights.pth")
    # A head has the same weights as the base of a wrapper.
    expected = {key.replace(".base", ""): value for key, value in trained.state_dict().items()}
    for name in (tool.BASE, *tool.ADDED):
        call = tool.prepare_inference(str(tmp_path / "weights.pth"), "cpu", (64, 128), name)
        state = call.args[0].state_dict()
        assert all(torch.equal(value, expected[key.replace(".base", "")]) for key, value in state.items())


def test_weights_without_a_part_are_refused(benchmark_tool, tmp_path):
    torch.save({"model": {"backbone.bottom_up.stem.conv1.weight": torch.zeros(1)}}, tmp_path / "weights.pth")
    with pytest.raises(SystemExit, match=r"CheckpointError: .*weights\.pth"):
        benchmark_tool.benchmark.main([*SMALL, "--repeats", "1", "--weights", str(tmp_path / "weights.pth")])
