"""The exponential moving average of the weights: its values, and runs that are evaluated, saved and resumed with it."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from model_parts import without_detector
from torch import nn

from unified_seg.checkpoint import Checkpointer
from unified_seg.config import ConfigError
from unified_seg.training.averaging import WeightAverage
from unified_seg.training.optimizer import check_solver
from unified_seg.training.trainer import Trainer

ITERATIONS = 4


def test_average_of_a_few_steps() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = WeightAverage(model, decay=0.25)
    expected = None
    # The decay is 1/10, 2/11 and 3/12 at first, then 0.25; the first step replaces the average.
    for step, value in enumerate([5.0, 9.0, 1.0, 7.0, -2.0]):
        with torch.no_grad():
            model[0].weight.fill_(value)
            model[1].running_mean.fill_(-value)
        average.update(model)
        decay = min(0.25, (1 + step) / (10 + step))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert average.model[0].weight.item() == pytest.approx(expected)
        assert average.model[1].running_mean.item() == pytest.approx(-expected)
    assert model[0].weight.item() == -2 and not average.model[0].weight.requires_grad


def test_constant_weights_stay_bit_by_bit() -> None:
    model = nn.Linear(7, 5)
    average = WeightAverage(model, decay=0.999)
    for _ in range(20):
        average.update(model)
    assert torch.equal(average.model.weight, model.weight)


def test_buffers_of_ids_are_copied() -> None:
    # The float average of a constant 3 falls below 3 after some steps.
    model = nn.Linear(1, 1)
    model.register_buffer("ids", torch.tensor([0, 3, 7]))
    average = WeightAverage(model, decay=0.999)
    for _ in range(60):
        average.update(model)
    assert average.model.ids.tolist() == [0, 3, 7]


@pytest.fixture
def config(tiny_config: CfgNode) -> CfgNode:
    cfg = tiny_config
    without_detector(cfg)
    cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD = 0, ITERATIONS, 2
    cfg.DATASETS.CHECK_LABELS, cfg.SEED = False, 3
    cfg.TEST.EVAL_PERIOD = 0
    cfg.MODEL_EMA.ENABLED = True
    return cfg


class RecordingTrainer(Trainer):
    """A trainer with the same batch at each step, and an evaluation that notes the weights."""

    batch: Any = None
    evaluated: Any = None

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        cls.batch = cls.batch or next(iter(super().build_train_loader(cfg)))
        return itertools.repeat(cls.batch)

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> Any:
        cls.evaluated = copy.deepcopy(model.state_dict())
        return {}


def train(cfg: CfgNode, iterations: int, *, resume: bool = False) -> dict[str, Any]:
    """Train up to this iteration; return the last checkpoint."""
    torch.manual_seed(0)
    trainer = RecordingTrainer(cfg)
    trainer.resume_or_load(resume)
    trainer.max_iter = iterations
    trainer.train()
    return torch.load(Path(cfg.OUTPUT_DIR) / "model_final.pth", weights_only=True)


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return any(not torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.end_to_end
def test_average_is_evaluated_saved_and_resumed(config: CfgNode, tmp_path: Path) -> None:
    whole = train(config, ITERATIONS)
    state = whole["trainer"]["average"]
    assert state["num_steps"] == ITERATIONS
    assert_same(RecordingTrainer.evaluated, whole["model"])
    assert differ(whole["model"], state["trained"])

    config.OUTPUT_DIR = str(tmp_path / "interrupted")
    train(config, 2)
    resumed = train(config, ITERATIONS, resume=True)
    assert_same(resumed["model"], whole["model"])
    assert_same(resumed["trainer"]["average"]["trained"], state["trained"])

    # The trained weights are those of a run without an average.
    config.OUTPUT_DIR, config.MODEL_EMA.ENABLED = str(tmp_path / "plain"), False
    plain = train(config, ITERATIONS)
    assert_same(plain["model"], state["trained"])
    assert "average" not in plain["trainer"]


@pytest.mark.end_to_end
def test_average_can_be_turned_off_and_on(config: CfgNode) -> None:
    first = train(config, 2)
    config.MODEL_EMA.ENABLED = False
    trainer = RecordingTrainer(config)
    trainer.resume_or_load(resume=True)
    assert_same(trainer.model.state_dict(), first["trainer"]["average"]["trained"])
    trainer.checkpointer.save("model_0000001", iteration=1)
    config.MODEL_EMA.ENABLED = True
    trainer = RecordingTrainer(config)
    trainer.resume_or_load(resume=True)
    assert_same(trainer.model.state_dict(), first["trainer"]["average"]["trained"])
    assert_same(trainer.evaluated_model.state_dict(), trainer.model.state_dict())


def test_pretrained_weights_are_both_those_of_the_model_and_of_the_average(config: CfgNode, tmp_path: Path) -> None:
    source = RecordingTrainer(config)
    Checkpointer(source.model, str(tmp_path)).save("start")
    config.MODEL.WEIGHTS, config.SEED = str(tmp_path / "start.pth"), 4
    torch.manual_seed(1)
    trainer = RecordingTrainer(config)
    trainer.resume_or_load(resume=False)
    assert_same(trainer.model.state_dict(), source.model.state_dict())
    assert_same(trainer.evaluated_model.state_dict(), source.model.state_dict())


def test_impossible_keys_are_errors(config: CfgNode) -> None:
    config.MODEL_EMA.DECAY = 1.0
    with pytest.raises(ConfigError, match=r"MODEL_EMA\.DECAY"):
        check_solver(config)
    config.MODEL_EMA.DECAY, config.TEST.PRECISE_BN.ENABLED = 0.9, True
    with pytest.raises(ConfigError, match=r"MODEL_EMA\.ENABLED: TEST\.PRECISE_BN"):
        check_solver(config)
