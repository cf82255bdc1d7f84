"""tools/benchmark.py checkpoint, with small files."""

import json

import pytest

pytestmark = pytest.mark.end_to_end


def test_it_measures_and_writes(benchmark_tool, monkeypatch, tmp_path):
    """That both sides write and read the same tensors is asserted on the way."""
    monkeypatch.setattr(benchmark_tool.harness, "peak_on_cpu", lambda prepare, threads: None)
    path = tmp_path / "measured.json"
    words = ["checkpoint", "--layers", "1", "--repeats", "1", "--threads", "1", "--json", str(path)]
    benchmark_tool.benchmark.main(words)
    against = [each["against"] for each in json.loads(path.read_text())]
    assert against == ["torch.save", "torch.save and fsync", *["torch.load, weights_only"] * 3]
