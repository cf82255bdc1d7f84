"""Early stopping, its state on a resumed run, and checkpoints of which the last ones are kept."""

import signal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from chain_model import chain_config
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from torch import nn

from unified_seg.config import ConfigError
from unified_seg.training.lifecycle.best_score import EarlyStopping, find_score, read_scores
from unified_seg.training.lifecycle.signals import TrainingStopped
from unified_seg.training.trainer import Trainer

# Of the evaluations after 2, 4, ... iterations. With a patience of 2 the one after 10 is the last.
SCORES = [10.0, 30.0, 20.0, 31.0, 30.5, float("nan"), 40.0, 41.0, 42.0, 43.0]
PERIOD = 2


class ScriptedTrainer(Trainer):
    """A trainer whose evaluations have the scores above."""

    evaluated_at: ClassVar[list[int]] = []

    def _evaluate(self) -> dict[str, Any]:
        number = self.checkpoints.num_complete // PERIOD - 1
        self.evaluated_at.append(self.checkpoints.num_complete)
        self._last_eval_results = {"sem_seg": {"mIoU": SCORES[number]}}
        return {} if SCORES[number] != SCORES[number] else self._last_eval_results

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> Any:
        raise AssertionError


class StopAfter(HookBase):
    def __init__(self, iterations: int):
        self.iterations = iterations

    def after_step(self) -> None:
        if self.trainer.iter + 1 == self.iterations:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def config(tiny_config: CfgNode) -> CfgNode:
    cfg = chain_config(tiny_config)
    cfg.DATASETS.CHECK_LABELS = False
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD = 20, PERIOD
    cfg.SOLVER.EARLY_STOPPING.PATIENCE = 2
    cfg.TEST.EVAL_PERIOD, cfg.TEST.BEST_CHECKPOINT_METRIC, cfg.VIS_PERIOD = PERIOD, "sem_seg/mIoU", 0
    cfg.SOLVER.WRITERS = []
    ScriptedTrainer.evaluated_at.clear()
    return cfg


def train(cfg: CfgNode, *, resume: bool = False, stop_after: int = 0) -> ScriptedTrainer:
    trainer = ScriptedTrainer(cfg)
    trainer.resume_or_load(resume)
    if stop_after:
        trainer.register_hooks([StopAfter(stop_after)])
        with pytest.raises(TrainingStopped):
            trainer.train_steps()
    else:
        trainer.train_steps()
    return trainer


def read_iteration(cfg: CfgNode, name: str = "model_final.pth") -> int:
    return torch.load(Path(cfg.OUTPUT_DIR) / name, weights_only=True)["iteration"]


def test_training_stops_after_evaluations_without_a_better_score(config: CfgNode) -> None:
    train(config)
    # 30.5 and the undefined score are not above 31.
    assert ScriptedTrainer.evaluated_at == [2, 4, 6, 8, 10, 12]
    assert read_iteration(config) == 11
    best = torch.load(Path(config.OUTPUT_DIR) / "model_best.pth", weights_only=True)
    assert best["sem_seg/mIoU"] == 31


@pytest.mark.parametrize("stop_after", [3, 8, 9, 11])
def test_a_resumed_run_stops_where_it_would_have(config: CfgNode, stop_after: int) -> None:
    train(config, stop_after=stop_after)
    train(config, resume=True)
    assert read_iteration(config) == 11
    assert ScriptedTrainer.evaluated_at == [2, 4, 6, 8, 10, 12]


def test_a_run_that_stopped_early_goes_on_with_more_patience(config: CfgNode) -> None:
    train(config)
    train(config, resume=True)
    assert read_iteration(config) == 11
    config.SOLVER.EARLY_STOPPING.PATIENCE, config.SOLVER.MAX_ITER = 3, 16
    train(config, resume=True)
    assert read_iteration(config) == 15


def test_small_rises_do_not_count(config: CfgNode) -> None:
    config.SOLVER.EARLY_STOPPING.MIN_DELTA = 2.0
    train(config)
    assert read_iteration(config) == 7  # 31 is not 2 above 30


def test_scores_are_read_with_those_that_are_undefined(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    lines = ['{"iteration": 1, "loss": 2}', '{"iteration": 1, "eval_s": 1, "a/b": 3}', '{"iteration": 3, "eval_s": 1}']
    file.write_text("\n".join([*lines, "{"]))
    assert [*map(str, read_scores(file, "a/b"))] == ["3.0", "nan"]
    hook = EarlyStopping("a/b", 2)
    hook._count(float("nan"))
    assert hook.num_without_rise == 0  # there is no score yet
    for score in (3.0, 3.0):
        hook._count(score)
    assert (hook.best, hook.num_without_rise) == (3.0, 1)


def test_patience_needs_a_score(config: CfgNode) -> None:
    config.TEST.BEST_CHECKPOINT_METRIC = ""
    with pytest.raises(ConfigError, match=r"SOLVER\.EARLY_STOPPING\.PATIENCE: .*TEST\.EVAL_PERIOD"):
        ScriptedTrainer(config)


def test_only_the_last_checkpoints_are_kept(config: CfgNode) -> None:
    config.SOLVER.EARLY_STOPPING.PATIENCE, config.SOLVER.KEEP_CHECKPOINTS, config.SOLVER.MAX_ITER = 0, 2, 10
    train(config, stop_after=5)
    folder = Path(config.OUTPUT_DIR)
    assert {file.name for file in folder.glob("*.pth")} == {
        *("model_0000001.pth", "model_0000003.pth", "model_0000004.pth", "model_best.pth")
    }
    # The user goes back to an earlier state; the checkpoint of it stays, and later ones until they are written again.
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    train(config, resume=True)
    assert {file.name for file in folder.glob("*.pth")} == {
        *("model_0000001.pth", "model_0000007.pth", "model_0000009.pth", "model_best.pth", "model_final.pth")
    }


def test_names_of_classes_may_have_slashes() -> None:
    results = {"sem_seg": {"IoU-car/van": 7.0}}
    assert find_score(results, "sem_seg/IoU-car/van", {"sem_seg"}) == 7
    assert find_score({"val": results}, "val/sem_seg/IoU-car/van", {"sem_seg"}) == 7
    assert np.isnan(find_score({"val": {}}, "val/sem_seg/IoU-car/van", {"sem_seg"}))
    with pytest.raises(ConfigError, match="no metric 'sem_seg/IoU-car'"):
        find_score(results, "sem_seg/IoU-car", {"sem_seg"})
