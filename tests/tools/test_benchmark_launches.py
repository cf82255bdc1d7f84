"""tools/benchmark.py launches, and accelerator on the pretended device, at small sizes."""

import argparse
import json

import benchmarks.pretend_device  # noqa: F401 (autograd must know the device before a training in this process)
import pytest

pytestmark = pytest.mark.end_to_end

SIZE = "96x192"


def test_launches_are_counted_and_published(benchmark_tool, tmp_path, monkeypatch, capsys):
    """The results are compared with those of the CPU on the way."""
    monkeypatch.setattr(benchmark_tool.launches, "MODEL_SIZE", (64, 128))
    path, readme = tmp_path / "launches.json", tmp_path / "README.md"
    readme.write_text("<!-- benchmark-launches:begin -->\n<!-- benchmark-launches:end -->\n")
    options = ["--size", SIZE, "--instances", "6", "--json", str(path), "--into", str(readme)]
    benchmark_tool.benchmark.main(["launches", *options])
    counted = {each["name"]: each for each in json.loads(path.read_text())}
    assert counted["training step"]["own_synchronizations"] == 0
    assert counted["training step"]["other_synchronizations"] > 0
    assert counted["fusion"]["own_synchronizations"] <= 3
    assert counted["fusion"]["operators"] <= 150 < counted["training step"]["operators"]
    printed = capsys.readouterr().out
    assert all(f"| {name}" in printed and f"| {name}" in readme.read_text() for name in counted)


def test_the_measurements_of_an_accelerator_run_on_a_pretended_one(benchmark_tool, monkeypatch):
    monkeypatch.setattr(benchmark_tool.harness, "WARM_UP_CALLS", 0)
    device = str(benchmark_tool.pretend_device.DEVICE)
    monkeypatch.setattr(benchmark_tool.accelerator, "STEP_SIZE", (64, 128))
    monkeypatch.setattr(benchmark_tool.accelerator, "BATCH", 1)
    args = argparse.Namespace(device=device, size=(96, 192), instances=4)
    with benchmark_tool.pretend_device.PretendDevice():
        comparisons = benchmark_tool.accelerator.make_comparisons(args)
        measured = [benchmark_tool.harness.measure(each, device, 1, 1) for each in comparisons]
    assert [each.name for each in measured] == ["fusion", "fusion, winding region", "training step, 1 images"]
    assert all(each.method_ms > 0 and each.peer_ms > 0 and each.method_peak_mb is None for each in measured)


def test_an_accelerator_is_needed(benchmark_tool):
    with pytest.raises(SystemExit, match="--device cpu"):
        benchmark_tool.benchmark.main(["accelerator", "--size", SIZE])
