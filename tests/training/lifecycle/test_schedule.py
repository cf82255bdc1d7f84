"""Numbers of iterations that follow from epochs, fractions and the length of a run; the tiny data set has 4 images."""

from typing import Any

import pytest
from detectron2.config import CfgNode

from unified_seg.config import ConfigError, get_value
from unified_seg.data.resolve import resolve_config, resolve_stages
from unified_seg.training.lifecycle.schedule import resolve_schedule


def resolve(cfg: CfgNode, **solver: Any) -> CfgNode:
    for key, value in solver.items():
        cfg.SOLVER[key] = value
    return resolve_schedule(resolve_config(cfg))


@pytest.mark.parametrize(("epochs", "batch", "iterations"), [(3.0, 2, 6), (0.5, 2, 1), (2.5, 4, 3), (1.0, 3, 2)])
def test_epochs_become_iterations(tiny_config: CfgNode, epochs: float, batch: int, iterations: int) -> None:
    solver = resolve(tiny_config, EPOCHS=epochs, IMS_PER_BATCH=batch, STEP_FRACTIONS=[0.9, 0.5]).SOLVER
    assert (iterations, 0, []) == (solver.MAX_ITER, solver.EPOCHS, solver.STEP_FRACTIONS)
    assert (round(0.5 * iterations), round(0.9 * iterations)) == solver.STEPS


@pytest.mark.parametrize(("iterations", "warmup"), [(90000, 1000), (3000, 300), (7, 0)])
def test_warm_up_is_at_most_a_tenth_of_the_run(tiny_config: CfgNode, iterations: int, warmup: int) -> None:
    assert warmup == resolve(tiny_config, MAX_ITER=iterations, WARMUP_ITERS=-1).SOLVER.WARMUP_ITERS
    assert resolve(tiny_config, MAX_ITER=iterations, WARMUP_ITERS=50).SOLVER.WARMUP_ITERS == 50


@pytest.mark.parametrize(
    ("iterations", "period", "evaluated"),
    [(20000, 2000, True), (1200, 500, True), (1000, 500, True), (999, 0, False), (3, 0, False)],
)
def test_evaluations_and_pictures_are_on_in_long_runs(
    tiny_config: CfgNode, iterations: int, period: int, evaluated: bool
) -> None:
    cfg = resolve(tiny_config, MAX_ITER=iterations)
    assert period == cfg.TEST.EVAL_PERIOD
    assert (period if evaluated else 0) == cfg.VIS_PERIOD


def test_without_test_set_nothing_is_evaluated(tiny_config: CfgNode) -> None:
    tiny_config.DATASETS.TEST = ()
    cfg = resolve(tiny_config, MAX_ITER=5000)
    assert (cfg.TEST.EVAL_PERIOD, cfg.VIS_PERIOD) == (0, 0)


def test_given_numbers_stay_and_a_resolved_config_is_returned_as_it_is(tiny_config: CfgNode) -> None:
    tiny_config.TEST.EVAL_PERIOD, tiny_config.VIS_PERIOD = 7, 3
    cfg = resolve(tiny_config, MAX_ITER=5000)
    assert (cfg.TEST.EVAL_PERIOD, cfg.VIS_PERIOD) == (7, 3)
    assert resolve_schedule(cfg) is cfg


def test_each_stage_gets_its_own_numbers(tiny_config: CfgNode) -> None:
    tiny_config.SOLVER.STAGES = ["long", "short"]
    tiny_config.STAGES.long = CfgNode({"SOLVER": {"EPOCHS": 3000.0}})
    tiny_config.STAGES.short = CfgNode({"SOLVER": {"MAX_ITER": 40}})
    tiny_config.SOLVER.WARMUP_ITERS = -1
    cfg = resolve_schedule(resolve_config(tiny_config))
    long, short = (stage.config for stage in resolve_stages(cfg))
    assert (long.SOLVER.MAX_ITER, long.SOLVER.WARMUP_ITERS, long.TEST.EVAL_PERIOD) == (6000, 600, 600)
    assert (short.SOLVER.MAX_ITER, short.SOLVER.WARMUP_ITERS, short.VIS_PERIOD) == (40, 4, 0)
    assert get_value(cfg, "SOLVER.WARMUP_ITERS") == -1
    assert resolve_schedule(cfg) == cfg


@pytest.mark.parametrize(
    ("solver", "message"),
    [({"EPOCHS": -1.0}, r"SOLVER\.EPOCHS"), ({"STEP_FRACTIONS": [0.5, 1.5]}, r"SOLVER\.STEP_FRACTIONS: .*1\.5")],
)
def test_numbers_out_of_range_are_errors(tiny_config: CfgNode, solver: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(tiny_config, **solver)
