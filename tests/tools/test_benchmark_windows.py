"""tools/benchmark.py windows, at tiny sizes."""

import importlib
import importlib.util
import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SMALL = ["windows", "--size", "96x192", "--window", "32"]


@pytest.fixture(scope="module")
def tool():
    """The tool and its modules by name, imported as Python does when the tool is run."""
    sys.path.insert(0, str(TOOLS))
    try:
        spec = importlib.util.spec_from_file_location("benchmark", TOOLS / "benchmark.py")
        benchmark = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(benchmark)
        modules = {name: importlib.import_module(f"benchmarks.{name}") for name in ("harness", "windows")}
        yield Namespace(benchmark=benchmark, **modules)
    finally:
        sys.path.remove(str(TOOLS))


def comparisons(tool, *arguments):
    args = tool.benchmark.parse([*SMALL, *arguments])
    return args.command.comparisons(args)


def test_it_measures_and_writes(tool, monkeypatch, tmp_path):
    """Its equality is asserted on the way."""
    monkeypatch.setattr(tool.harness, "peak_on_cpu", lambda prepare, threads: None)
    path = tmp_path / "measured.json"
    tool.benchmark.main([*SMALL, "--repeats", "1", "--threads", "1", "--json", str(path)])
    measured = json.loads(path.read_text())
    assert [each["name"] for each in measured] == [f"labels by windows, 96x192, stride {s}" for s in (8, 4, 8, 4)]
    plain, ours = "the whole image, F.interpolate, argmax(1)", "ours, the whole image at once"
    assert [each["against"] for each in measured] == [plain, plain, ours, ours]


def test_the_plain_way_is_spared_large_images(tool):
    args = tool.benchmark.parse(["windows"])
    names = [each.name for each in args.command.comparisons(args)]
    assert [name.split(", ")[1] for name in names] == ["512x1024", "512x1024", "4096x8192", "4096x8192"]


def test_many_classes_win(tool):
    labels = comparisons(tool)[1].ours()()
    assert labels.shape == (96, 192) and len(labels.unique()) > 20


def test_a_wrong_label(tool):
    for comparison in comparisons(tool):
        ours, peer = comparison.ours()(), comparison.peer()()
        comparison.assert_equal(ours, peer)
        ours[10, 10] = (ours[10, 10] + 75) % 150
        with pytest.raises(AssertionError, match="1 labels differ by more than a tie"):
            comparison.assert_equal(ours, peer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "100x192"], "multiples of 8 pixels"),
        (["--window", "30"], "no multiple of the network's stride of 8; the nearest are 24 and 32"),
        (["--window", "4"], "smaller than the network's stride"),
    ],
)
def test_wrong_arguments(tool, arguments, message):
    with pytest.raises(SystemExit, match=message):
        tool.benchmark.main([*SMALL, *arguments])
