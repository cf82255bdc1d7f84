"""tools/benchmark.py pyramidal, at a tiny size."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["pyramidal", "--size", "64x128", "--batch", "1"]


def test_it_measures_and_writes(benchmark_tool, monkeypatch, tmp_path):
    """That both sides have the same weights is asserted on the way."""
    monkeypatch.setattr(benchmark_tool.harness, "peak_on_cpu", lambda prepare, threads: None)
    path = tmp_path / "measured.json"
    benchmark_tool.benchmark.main([*SMALL, "--repeats", "1", "--threads", "1", "--json", str(path)])
    measured = json.loads(path.read_text())
    assert [each["name"] for each in measured] == ["training step, pyramidal output", "inference, pyramidal output"]
    assert {each["against"] for each in measured} == {"the same network with a single output"}


def test_only_the_pyramids_are_not_shared(benchmark_tool):
    args = benchmark_tool.benchmark.parse_args(SMALL)
    _, inference = args.command.make_comparisons(args)
    method, single = inference.method(), inference.peer()
    weights, of_single = method(), single()
    inference.assert_equal(weights, of_single)
    # The finest of the four levels' classifiers, and no unity.
    assert of_single.keys() == single.model.state_dict().keys()
    kept = [name for name in weights if name.startswith("sem_seg_head.classifiers.")]
    assert kept and all(name.startswith("sem_seg_head.classifiers.0.") for name in kept)
    name = next(iter(weights))
    with pytest.raises(AssertionError, match=f"{name} differs"):
        inference.assert_equal({**weights, name: weights[name] + 1}, of_single)
    weights.pop(name)
    with pytest.raises(AssertionError, match=f"weights of one side alone: .*{name}"):
        inference.assert_equal(weights, of_single)


def test_a_config_of_another_head_is_refused(benchmark_tool):
    config = ROOT / "configs/toyscapes/unified_demo.yaml"
    with pytest.raises(SystemExit, match=r"unified_demo\.yaml: MODEL\.SEM_SEG_HEAD\.NAME must be PyramidalOutputHead"):
        benchmark_tool.benchmark.main([*SMALL, "--config-file", str(config)])
