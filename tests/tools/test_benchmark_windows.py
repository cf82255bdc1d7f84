"""tools/benchmark.py windows, at tiny sizes."""

import json

import pytest

pytestmark = pytest.mark.end_to_end

SMALL = ["windows", "--size", "96x192", "--window", "32"]


def comparisons(benchmark_tool, *arguments):
    args = benchmark_tool.benchmark.parse_args([*SMALL, *arguments])
    return args.command.make_comparisons(args)


def test_it_measures_and_writes(benchmark_tool, monkeypatch, tmp_path):
    """Its equality is asserted on the way."""
    monkeypatch.setattr(benchmark_tool.harness, "peak_on_cpu", lambda prepare, threads: None)
    path = tmp_path / "measured.json"
    benchmark_tool.benchmark.main([*SMALL, "--repeats", "1", "--threads", "1", "--json", str(path)])
    measured = json.loads(path.read_text())
    assert [each["name"] for each in measured] == [f"labels by windows, 96x192, stride {s}" for s in (8, 4, 8, 4)]
    plain, method = "the whole image, F.interpolate, argmax(1)", "the method without windows"
    assert [each["against"] for each in measured] == [plain, plain, method, method]


def test_the_plain_peer_gets_small_images(benchmark_tool):
    args = benchmark_tool.benchmark.parse_args(["windows"])
    names = [each.name for each in args.command.make_comparisons(args)]
    assert [name.split(", ")[1] for name in names] == ["512x1024", "512x1024", "4096x8192", "4096x8192"]


def test_label_maps_have_many_classes(benchmark_tool):
    labels = comparisons(benchmark_tool)[1].method()()
    assert labels.shape == (96, 192) and len(labels.unique()) > 20


def test_a_wrong_label_is_found(benchmark_tool):
    for comparison in comparisons(benchmark_tool):
        method, peer = comparison.method()(), comparison.peer()()
        comparison.assert_equal(method, peer)
        method[10, 10] = (method[10, 10] + 75) % 150
        with pytest.raises(AssertionError, match="1 labels differ by more than a tie"):
            comparison.assert_equal(method, peer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "100x192"], "multiples of 8 pixels"),
        (["--window", "30"], "stride of 8; use `TEST.WINDOW.SIZE 24`"),
        (["--window", "4"], "smaller than the network's stride"),
    ],
)
def test_wrong_arguments_are_refused(benchmark_tool, arguments, message):
    with pytest.raises(SystemExit, match=message):
        benchmark_tool.benchmark.main([*SMALL, *arguments])
