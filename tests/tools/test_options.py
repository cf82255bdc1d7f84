"""The options that several tools have mean the same in each."""

import pytest

from unified_seg.training.run import parse_args

REQUIRED = {
    "analyze_model": "--tasks flop --config-file c.yaml",
    "check_dataset": "--config-file c.yaml --output out",
    "compare_models": "--before a.yaml a.pth --after b.yaml b.pth --dataset d --output out",
    "demo": "--config-file c.yaml --dataset d --output out",
    "rank_by_error": "--config-file c.yaml --dataset d --output out",
    "run_demo": "--output out",
    "visualize_data": "--source annotation --config-file c.yaml --output out",
}
OVERRIDES = ["SEED", "-1", "SOLVER.BASE_LR", "1e-3"]


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("marker", [[], ["--opts"]])
def test_overrides_are_read_with_and_without_opts(load_tool, name, marker):
    words = REQUIRED[name].split()
    assert load_tool(name).parse_args([*words, *marker, *OVERRIDES]).opts == OVERRIDES
    assert load_tool(name).parse_args(words).opts == []


@pytest.mark.parametrize("marker", [[], ["--opts"]])
def test_training_reads_overrides_with_and_without_opts(marker):
    assert parse_args(["--config-file", "c.yaml", *marker, *OVERRIDES]).opts == OVERRIDES


@pytest.mark.parametrize(
    "command", ["convert_dataset labelme --input a --output b", "check_dataset --dataset a --output b"]
)
@pytest.mark.parametrize(("given", "workers"), [("0", 1), ("1", 1), ("3", 3)])
def test_zero_workers_mean_this_process(load_tool, command, given, workers):
    name, *words = command.split()
    assert load_tool(name).parse_args([*words, "--workers", given]).workers == workers
