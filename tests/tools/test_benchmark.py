"""tools/benchmark.py: the harness that all its sub-commands share, and the sub-command `train`."""

import json
from functools import partial

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.end_to_end


def ones(megabytes: int):
    """Prepares a call that makes an array of this size; of library functions, so that any process can."""
    return partial(partial, np.ones, megabytes * 125_000)


def test_calls_take_turns(benchmark_tool):
    calls = []
    clock = iter(range(100))

    def timed(call):
        call()
        return next(clock)

    method, peer = (partial(calls.append, name) for name in ("method", "peer"))
    times = benchmark_tool.harness.take_turns(method, peer, 3, timed)
    # After two untimed calls of each, each timed call after an untimed one.
    assert calls[4:] == [side for side in ("method", "peer", "peer", "method", "method", "peer") for _ in range(2)]
    assert times == ([0, 3, 4], [1, 2, 5])


def test_quartiles_by_hand(benchmark_tool):
    # Inclusive: of 1 .. 5 the quartiles are the second and the fourth value.
    assert benchmark_tool.harness.quartiles([5, 1, 4, 2, 3]) == (2, 4)
    assert benchmark_tool.harness.quartiles([7]) == (7, 7)


def test_peak_memory_of_a_call(benchmark_tool):
    if not benchmark_tool.memory.can_reset_peak():
        pytest.skip("this system does not tell a process's highest memory use anew")
    peak = benchmark_tool.memory.peak_on_cpu(ones(40), threads=1)
    assert 39 < peak < 45


def test_a_failure_while_measuring_memory_is_an_error(benchmark_tool, capfd):
    if not benchmark_tool.memory.can_reset_peak():
        pytest.skip("this system does not tell a process's highest memory use anew")
    with pytest.raises(RuntimeError, match="ended with 1, see above"):
        benchmark_tool.memory.peak_on_cpu(partial(int, "no number"), threads=1)
    assert "'no number'" in capfd.readouterr().err


def comparison(benchmark_tool, assert_equal):
    return benchmark_tool.harness.Comparison("sum", "numpy", "ones", ones(1), ones(8), "sums", assert_equal)


def test_measurements_are_compared_formatted_and_saved(benchmark_tool, tmp_path):
    compared = []
    measured = benchmark_tool.harness.measure(
        comparison(benchmark_tool, lambda a, b: compared.append((a.sum(), b.sum()))), "cpu", 5, 1
    )
    assert compared == [(125_000, 1_000_000)]
    assert measured.ratio == measured.peer_ms / measured.method_ms
    assert measured.ratio_quartiles[0] <= measured.ratio_quartiles[1]
    assert measured.ratio > 2  # the peer has eight times the work
    assert measured.method_quartiles_ms[0] <= measured.method_ms <= measured.method_quartiles_ms[1]
    text = benchmark_tool.harness.as_table([measured], "cpu", "Some CPU")
    for words in ("sums", "sum: against numpy, on ones", "machine: Some CPU", "5 calls each"):
        assert words in text
    benchmark_tool.harness.save_measurements(tmp_path / "new" / "a.json", [measured], "cpu", "Some CPU", "python a.py")
    (read,) = json.loads((tmp_path / "new" / "a.json").read_text())
    assert read["ratio"] == measured.ratio and read["machine"] == "Some CPU" and read["device"] == "cpu"
    assert {"name", "ours_ms", "peer_ms", "ours_peak_mb", "peer_peak_mb", "peak_by"} <= read.keys()


def test_the_published_command_is_the_one_that_measured(benchmark_tool):
    words = ["pipeline", "--weights", "a b.pth", "--into", "x.md", "--json=y.json", "--repeats", "7"]
    command = "python tools/benchmark.py pipeline --weights 'a b.pth' --repeats 7"
    assert benchmark_tool.publish.format_command(words) == command


def test_unequal_results_are_not_measured(benchmark_tool, monkeypatch):
    for name in ("take_turns", "peak_on_cpu"):
        monkeypatch.setattr(benchmark_tool.harness, name, lambda *_: pytest.fail("measured"))

    def differ(method, peer):
        assert method.sum() == peer.sum()

    with pytest.raises(AssertionError):
        benchmark_tool.harness.measure(comparison(benchmark_tool, differ), "cpu", 1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--size", "128"], "argument --size: "),
        (["train", "--repeats", "0"], "argument --repeats: "),
        (["train", "--batch", "-1"], "argument --batch: "),
        (["train", "--device", "tpu"], "argument --device: "),
        (["fusion", "--instances", "none"], "argument --instances: "),
        (["training"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_refused(benchmark_tool, arguments, message, capsys):
    with pytest.raises(SystemExit):
        benchmark_tool.benchmark.parse_args(arguments)
    assert message in capsys.readouterr().err


def test_the_size_depends_on_the_command(benchmark_tool):
    assert benchmark_tool.benchmark.parse_args(["train"]).size == (128, 256)
    assert benchmark_tool.benchmark.parse_args(["fusion"]).size == (1024, 2048)
    assert benchmark_tool.benchmark.parse_args(["fusion", "--size", "64x96"]).size == (64, 96)


def test_a_single_call_is_timed_after_untimed_ones(benchmark_tool):
    calls = []
    clock = iter(range(10))

    def timed(call):
        call()
        return next(clock)

    assert benchmark_tool.harness.take_times(partial(calls.append, "call"), 3, timed) == [0, 1, 2]
    assert len(calls) == 3 + benchmark_tool.harness.WARM_UP_CALLS


def test_inputs_have_what_both_models_read(benchmark_tool):
    first, again = (benchmark_tool.inputs.toyscapes_batch((64, 128), 2, 0, "BGR") for _ in range(2))
    assert len(first) == 2 and sum(len(each["instances"]) for each in first) > 0
    for one, other in zip(first, again):
        assert one["image"].shape == (3, 64, 128) and one["image"].dtype == torch.uint8
        assert one["sem_seg"].shape == (64, 128) and one["sem_seg"].dtype == torch.int64
        masks = one["instances"].gt_masks.tensor
        assert masks.flatten(1).any(dim=1).all() and one["instances"].gt_classes.max() < 8
        assert torch.equal(one["image"], other["image"]) and torch.equal(one["sem_seg"], other["sem_seg"])
    assert not torch.equal(first[0]["image"], first[1]["image"])


def test_training_steps_have_equal_detector_losses(benchmark_tool):
    """The same detector losses, a head of its own each, and weights that stay as they are."""
    method, peer = (
        benchmark_tool.train.prepare_step(benchmark_tool.train.CONFIG, "cpu", (64, 128), 2, peer=side)
        for side in (False, True)
    )
    assert type(peer.model).__name__ == "PanopticFPN" and type(method.model).__name__ == "UnifiedSegmentor"
    first = method()
    benchmark_tool.train.assert_equal_detector_losses(first, peer())
    assert torch.isfinite(torch.stack(list(first.values()))).all() and first["loss_mask"] > 0
    torch.testing.assert_close(method()["loss_sem_seg"], first["loss_sem_seg"], rtol=1e-3, atol=0)
    wrong = {**first, "loss_cls": first["loss_cls"] * 1.01}
    with pytest.raises(AssertionError, match="loss_cls"):
        benchmark_tool.train.assert_equal_detector_losses(first, wrong)


def test_bfloat16_is_timed_beside_float32(benchmark_tool, monkeypatch):
    monkeypatch.setattr("benchmarks.train.uses_bfloat16", lambda cfg: True)
    args = benchmark_tool.benchmark.parse_args(["train"])
    variants = [f"{precision}{fused}" for precision in ("bfloat16", "float32") for fused in ("", ", SOLVER.FUSED")]
    comparisons = benchmark_tool.train.make_comparisons(args)
    assert [each.name for each in comparisons] == [f"training step, ASPRefinementHead, {name}" for name in variants]
    assert ["bfloat16" in each.equal for each in comparisons] == [True, True, False, False]


def test_a_config_without_a_detector_is_refused(benchmark_tool, tmp_path):
    path = tmp_path / "c.yaml"
    model = "{META_ARCHITECTURE: UnifiedSegmentor, ROI_HEADS: {NAME: ''}}"
    path.write_text(f"DATASETS: {{TRAIN: [unified_toyscapes_train]}}\nMODEL: {model}\n")
    with pytest.raises(SystemExit, match=r"c\.yaml: MODEL\.ROI_HEADS\.NAME is empty"):
        benchmark_tool.benchmark.main(["train", "--config-file", str(path)])
