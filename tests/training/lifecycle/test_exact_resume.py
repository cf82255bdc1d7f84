"""A run that is stopped and resumed ends as one that was not: weights, optimizer, random numbers, order of images."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chain_model import chain_config
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.utils.env import seed_all_rng

from unified_seg.training.lifecycle.signals import TrainingStopped
from unified_seg.training.trainer import Trainer

pytestmark = pytest.mark.end_to_end

ITERATIONS = 7


class Recorder(HookBase):
    """Notes the images of each step, and stops the training after one."""

    def __init__(self, stop_after: int | None = None):
        self.stop_after = stop_after
        self.images: list[tuple[str, ...]] = []

    def after_step(self) -> None:
        batch = self.trainer._trainer.batch
        self.images.append(tuple(Path(each["file_name"]).name for each in batch))
        if self.trainer.iter + 1 == self.stop_after:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def config(tiny_config: CfgNode) -> CfgNode:
    cfg = chain_config(tiny_config)
    cfg.DATASETS.CHECK_LABELS, cfg.DATASETS.TEST = False, ()
    cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD = 0.05, ITERATIONS, 100
    return cfg


def train(cfg: CfgNode, folder: Path, *, stop_after: int | None = None, resume: bool = False) -> list[tuple[str, ...]]:
    """Train to the end, or until a signal after some iterations; return the images of each step."""
    seed_all_rng(None if resume else cfg.SEED)
    cfg.OUTPUT_DIR = str(folder)
    trainer, recorder = Trainer(cfg), Recorder(stop_after)
    trainer.resume_or_load(resume)
    trainer.register_hooks([recorder])
    if stop_after is None:
        trainer.train()
    else:
        with pytest.raises(TrainingStopped) as stop:
            trainer.train()
        assert stop.value.code == 128 + signal.SIGTERM
    return recorder.images


def read_end(folder: Path) -> dict[str, Any]:
    """Return what the last checkpoint holds, without the times and folders of the run."""
    state = torch.load(folder / "model_final.pth", weights_only=True)
    trainer = {key: value for key, value in state["trainer"].items() if key not in ("train_s", "config")}
    return {key: trainer if key == "trainer" else state[key] for key in ("model", "trainer", "iteration", "processes")}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_a_signal_in_an_evaluation_leaves_the_random_numbers(
    config: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.DATASETS.TEST, config.TEST.EVAL_PERIOD = config.DATASETS.TRAIN, 3

    def draw_numbers(*_: Any) -> dict[str, Any]:
        torch.rand(1)
        np.random.rand()
        if config.OUTPUT_DIR.endswith("parts") and not (tmp_path / "parts" / "last_checkpoint").exists():
            signal.raise_signal(signal.SIGTERM)
        results = Path(config.OUTPUT_DIR) / "inference" / "results.json"
        results.parent.mkdir(exist_ok=True)
        results.write_text("{}")  # what the trainer looks for at its end
        return {"sem_seg": {"mIoU": 1.0}}

    monkeypatch.setattr(Trainer, "test", draw_numbers)
    train(config, tmp_path / "whole")
    config.OUTPUT_DIR = str(tmp_path / "parts")
    seed_all_rng(config.SEED)
    trainer = Trainer(config)
    trainer.resume_or_load(False)
    with pytest.raises(TrainingStopped):
        trainer.train()
    assert trainer.iter == 2
    train(config, tmp_path / "parts", resume=True)
    one, other = read_end(tmp_path / "whole"), read_end(tmp_path / "parts")
    assert {key for key in one if not same(one[key], other[key])} == set()


# The campaign "resumes" of tools/torture.py has more.
@pytest.mark.parametrize(
    ("optimizer", "workers", "averaged", "parts"),
    [("SGD", 0, False, 2), ("ADAMW", 0, True, 1), ("ADAMW", 1, False, 1), ("SGD", 2, True, 2)],
)
def test_a_stopped_run_ends_as_one_that_was_not(
    config: CfgNode, tmp_path: Path, optimizer: str, workers: int, averaged: bool, parts: int
) -> None:
    config.SOLVER.ACCUMULATION_STEPS = parts
    config.SOLVER.CLIP_GRADIENTS.ENABLED, config.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = parts > 1, "full_model"
    config.SOLVER.OPTIMIZER, config.DATALOADER.NUM_WORKERS, config.MODEL_EMA.ENABLED = optimizer, workers, averaged
    whole = train(config, tmp_path / "whole")
    first = train(config, tmp_path / "parts", stop_after=3)
    second = train(config, tmp_path / "parts", resume=True)
    assert first + second == whole and len(set(whole)) > 1
    one, other = read_end(tmp_path / "whole"), read_end(tmp_path / "parts")
    assert {key for key in one if not same(one[key], other[key])} == set()
