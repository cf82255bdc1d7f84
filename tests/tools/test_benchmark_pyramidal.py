"""tools/benchmark.py pyramidal, at a tiny size."""

import importlib
import importlib.util
import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
SMALL = ["pyramidal", "--size", "64x128", "--batch", "1"]


@pytest.fixture(scope="module")
def tool():
    """The tool and its modules by name, imported as Python does when the tool is run."""
    sys.path.insert(0, str(TOOLS))
    try:
        spec = importlib.util.spec_from_file_location("benchmark", TOOLS / "benchmark.py")
        benchmark = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(benchmark)
        modules = {name: importlib.import_module(f"benchmarks.{name}") for name in ("harness", "pyramidal")}
        yield Namespace(benchmark=benchmark, **modules)
    finally:
        sys.path.remove(str(TOOLS))


def test_it_measures_and_writes(tool, monkeypatch, tmp_path):
    """That both sides have the same weights is asserted on the way."""
    monkeypatch.setattr(tool.harness, "peak_on_cpu", lambda prepare, threads: None)
    path = tmp_path / "measured.json"
    tool.benchmark.main([*SMALL, "--repeats", "1", "--threads", "1", "--json", str(path)])
    measured = json.loads(path.read_text())
    assert [each["name"] for each in measured] == ["training step, pyramidal output", "inference, pyramidal output"]
    assert {each["against"] for each in measured} == {"the same network with a single output"}


def test_only_the_pyramids_are_not_shared(tool):
    args = tool.benchmark.parse(SMALL)
    _, inference = args.command.comparisons(args)
    ours, single = inference.ours(), inference.peer()
    weights, of_single = ours(), single()
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


def test_another_head_is_an_error(tool):
    config = ROOT / "configs/toyscapes/unified_demo.yaml"
    with pytest.raises(SystemExit, match=r"unified_demo\.yaml: MODEL\.SEM_SEG_HEAD\.NAME is .*, not PyramidalOutput"):
        tool.benchmark.main([*SMALL, "--config-file", str(config)])
