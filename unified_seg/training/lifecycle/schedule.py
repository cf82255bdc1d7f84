"""The iterations of a run: SOLVER.EPOCHS as iterations, and the periods and the warm-up that follow from them."""

import math
from typing import Any

from detectron2.config import CfgNode

from unified_seg.config import ConfigError, replace_values
from unified_seg.config.keys import AUTO, DEFAULT_WARMUP_ITERS
from unified_seg.data.pipeline.loaders import load_training_records
from unified_seg.data.resolve import resolve_stages

# By default a run is evaluated this often, but not more often than every so many iterations; a run that is shorter than
# two periods, only at its end.
NUM_EVALUATIONS = 10
MIN_EVAL_PERIOD = 500
# The warm-up by default is at most this share of the run.
MAX_WARMUP_SHARE = 0.1


def resolve_schedule(cfg: CfgNode) -> CfgNode:
    """Return the config with numbers of iterations in place of epochs and fractions, and of keys that are AUTO.

    In a config with stages each stage gets its own numbers, as keys of STAGES.<name>. A config that has no such keys
    is returned as it is.

    Args:
        cfg: a resolved config.

    Raises:
        ConfigError: epochs, or a fraction of SOLVER.STEP_FRACTIONS, out of range; invalid stages.
        DataError: with epochs, as `load_training_records` does.
    """
    stages = resolve_stages(cfg)
    if not stages:
        return replace_values(cfg, values) if (values := _compute_values(cfg)) else cfg
    cfg = cfg.clone()
    cfg.defrost()
    for stage in stages:
        for key, value in _compute_values(stage.config).items():
            _set_in_stage(cfg.STAGES[stage.name], key, value)
    cfg.freeze()
    return cfg


def _compute_values(cfg: CfgNode) -> dict[str, Any]:
    """Return the keys that get another value; see `resolve_schedule`."""
    solver = cfg.SOLVER
    values: dict[str, Any] = {}
    iterations = solver.MAX_ITER
    if solver.EPOCHS:
        if not 0 < solver.EPOCHS < math.inf:
            raise ConfigError(f"SOLVER.EPOCHS: must be a number above 0, or 0 for SOLVER.MAX_ITER, got {solver.EPOCHS}")
        images = len(load_training_records(cfg))
        iterations = math.ceil(solver.EPOCHS * images / max(solver.IMS_PER_BATCH, 1))
        values |= {"SOLVER.MAX_ITER": iterations, "SOLVER.EPOCHS": 0.0}
    if solver.STEP_FRACTIONS:
        if not all(0 < fraction < 1 for fraction in solver.STEP_FRACTIONS):
            raise ConfigError(f"SOLVER.STEP_FRACTIONS: must be in (0, 1), got {list(solver.STEP_FRACTIONS)}")
        steps = tuple(round(fraction * iterations) for fraction in sorted(solver.STEP_FRACTIONS))
        values |= {"SOLVER.STEPS": steps, "SOLVER.STEP_FRACTIONS": []}
    if solver.WARMUP_ITERS == AUTO:
        values["SOLVER.WARMUP_ITERS"] = min(DEFAULT_WARMUP_ITERS, int(MAX_WARMUP_SHARE * iterations))
    return values | _compute_periods(cfg, iterations)


def _compute_periods(cfg: CfgNode, iterations: int) -> dict[str, Any]:
    """Return what is AUTO of the evaluations during the training and of the pictures."""
    values: dict[str, Any] = {}
    period = cfg.TEST.EVAL_PERIOD
    if period == AUTO:
        period = max(-(-iterations // NUM_EVALUATIONS), MIN_EVAL_PERIOD)
        if not cfg.DATASETS.TEST or iterations < 2 * period:
            period = 0
        values["TEST.EVAL_PERIOD"] = period
    if cfg.VIS_PERIOD == AUTO:
        values["VIS_PERIOD"] = period if is_evaluated_before_end(cfg, period, iterations) else 0
    return values


def is_evaluated_before_end(cfg: CfgNode, period: int, iterations: int) -> bool:
    """Return whether a training is evaluated before its last iteration."""
    return bool(cfg.DATASETS.TEST) and 0 < period < iterations


def _set_in_stage(node: CfgNode, key: str, value: Any) -> None:
    """Set a key of a stage, which may lack it."""
    *path, last = key.split(".")
    for part in path:
        node = node.setdefault(part, CfgNode())
    node[last] = value
