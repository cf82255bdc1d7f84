"""tools/benchmark.py data and start: equal results of method and peer, on a few images."""

import os
import sys
from typing import Any

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def small(benchmark_tool: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The kinds of files with small images."""
    kinds = benchmark_tool.data_files.KINDS
    coco = kinds["coco"]._replace(size=(96, 128), lengths=(100, 120))
    cityscapes = kinds["cityscapes"]._replace(size=(96, 192), lengths=(64, 128), crop=(48, 96))
    for module in (benchmark_tool.data, benchmark_tool.start):
        monkeypatch.setattr(module, "KINDS", {"coco": coco, "cityscapes": cityscapes})
    monkeypatch.setattr(benchmark_tool.start, "SIZE", (96, 128))
    return benchmark_tool


def test_each_mapper_has_the_tensors_of_its_peer(small: Any) -> None:
    args = small.benchmark.parse_args(["data", "--images", "2"])
    comparisons = args.command.make_comparisons(args)
    assert len(comparisons) == 11
    for comparison in comparisons:
        if "one process" in comparison.name:
            comparison.assert_equal(comparison.method()(), comparison.peer()())


def test_loaders_have_the_tensors_of_their_peers(small: Any) -> None:
    args = small.benchmark.parse_args(["data", "--images", "3", "--workers", "1"])
    for comparison in args.command.make_comparisons(args)[1:3]:
        method, peer = comparison.method(), comparison.peer()
        for _ in range(2):
            comparison.assert_equal(method(), peer())


def test_private_memory_is_a_part_of_the_memory_of_a_process(small: Any) -> None:
    if small.memory.can_reset_peak():
        held = np.ones(10**7)
        assert held.nbytes < small.memory._private_memory(os.getpid()) <= small.memory._status("VmRSS")


def test_unequal_tensors_are_found(small: Any) -> None:
    root = small.data_files.make_folder()
    method, peer = (small.data.prepare_mapper(root, "coco", "polygons", 1, 0, side)() for side in (False, True))
    small.data.assert_equal_tensors(method, peer)
    for key in ("image", "sem_seg"):
        wrong = [{**peer[0], key: peer[0][key] + 1}]
        with pytest.raises(AssertionError, match=key):
            small.data.assert_equal_tensors(method, wrong)
    peer[0]["instances"].gt_classes = torch.flip(peer[0]["instances"].gt_classes + 1, [0])
    with pytest.raises(AssertionError, match="classes"):
        small.data.assert_equal_tensors(method, peer)


def test_a_later_start_builds_the_records_of_the_peer(
    small: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = small.benchmark.parse_args(["start", "--records", "20"])
    comparison, in_process = args.command.make_comparisons(args)
    method, peer = comparison.method(), comparison.peer()
    for _ in range(2):
        comparison.assert_equal(method(), peer())
    # What the new process runs, in this one.
    monkeypatch.setattr(sys, "argv", ["-c", str(small.data_files.make_folder() / small.start.NAME), "method"])
    exec(small.start.PROCESS, {})
    assert capsys.readouterr().out.split()[-1] == "20" and in_process.starts_anew
