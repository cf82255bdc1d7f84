import os
import signal
import time
from pathlib import Path

import pytest
import torch
from chain_model import chain_config
from detectron2.config import CfgNode
from detectron2.engine import HookBase

from unified_seg.training.lifecycle.signals import SIGNALS, StopSignals, TrainingStopped
from unified_seg.training.trainer import Trainer


def test_the_first_signal_is_remembered_and_the_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopSignals() as stop:
        assert stop.number == 0
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)  # within a second: passed on by torchrun
        assert stop.number == signal.SIGTERM
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_the_second_signal_ends_the_process() -> None:
    child = os.fork()
    if child == 0:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGTERM)
            stop._since -= 10
            signal.raise_signal(signal.SIGHUP)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGHUP


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.number == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_can_be_repeated_ends_at_once() -> None:
    with StopSignals() as stop:
        with pytest.raises(TrainingStopped) as end, stop.raised_at_once():
            signal.raise_signal(signal.SIGINT)
            time.sleep(1)
            pytest.fail("it went on")
        assert end.value.code == 130
        with pytest.raises(TrainingStopped), stop.raised_at_once():
            pytest.fail("it began")


class Send(HookBase):
    """Sends a signal in a method of the training."""

    def __init__(self, when: str, iteration: int = 1):
        self.when = when
        self.iteration = iteration

    def before_step(self) -> None:
        if self.when == "step" and self.trainer.iter == self.iteration:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def config(tiny_config: CfgNode) -> CfgNode:
    cfg = chain_config(tiny_config)
    cfg.DATASETS.CHECK_LABELS, cfg.SOLVER.MAX_ITER, cfg.TEST.EVAL_PERIOD = False, 4, 2
    return cfg


def stop(cfg: CfgNode, when: str, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Train until a signal comes in a step or in an evaluation."""
    trainer = Trainer(cfg)
    trainer.register_hooks([Send(when)])
    with monkeypatch.context() as patch:
        if when == "evaluation":
            patch.setattr(Trainer, "test", lambda *_: signal.raise_signal(signal.SIGTERM) or pytest.fail("it went on"))
        with pytest.raises(TrainingStopped):
            trainer.train()
    return trainer


@pytest.mark.parametrize("when", ["step", "evaluation"])
def test_a_stopped_training_saves_its_last_step_and_says_it(
    config: CfgNode, when: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop(config, when, monkeypatch)
    folder = Path(config.OUTPUT_DIR)
    assert torch.load(folder / "model_0000001.pth", weights_only=True)["iteration"] == 1
    assert any("SIGTERM" in text and "2 iterations" in text and "--resume" in text for text in caplog.messages)
    # The evaluation that was not done is done by the resumed run.
    (folder / "inference").mkdir(exist_ok=True)
    (folder / "inference" / "results.json").write_text("{}")
    evaluated = []
    monkeypatch.setattr(Trainer, "test", lambda cls, cfg, model: evaluated.append(1) or {"sem_seg": {"mIoU": 1.0}})
    trainer = Trainer(config)
    trainer.resume_or_load(resume=True)
    assert trainer.start_iter == 2
    trainer.train()
    lines = (folder / "metrics.json").read_text().splitlines()
    assert len(evaluated) == sum('"sem_seg/mIoU"' in line for line in lines) == 2
