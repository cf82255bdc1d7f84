"""A loss, a gradient or weights that are not finite: the run stops, and its last good checkpoint stays good."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from chain_model import ChainHead, chain_config
from detectron2.config import CfgNode
from torch import Tensor

from unified_seg.training.lifecycle.checkpoints import check_finite
from unified_seg.training.step import TrainingDiverged
from unified_seg.training.trainer import Trainer


@pytest.fixture
def config(tiny_config: CfgNode) -> CfgNode:
    cfg = chain_config(tiny_config)
    cfg.DATASETS.CHECK_LABELS, cfg.DATASETS.TEST = False, ()
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD = "SGD", 0.01, 8, 1
    return cfg


class _Spoil(torch.autograd.Function):
    """The identity, whose gradient is NaN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * torch.nan


def spoil(monkeypatch: pytest.MonkeyPatch, in_call: int, change: Any) -> None:
    """Change the losses in a call of the model, from 1."""
    losses, calls = ChainHead.losses, []

    def changed(self: ChainHead, *args: Any) -> dict[str, Tensor]:
        calls.append(1)
        found = losses(self, *args)
        return {name: change(loss) for name, loss in found.items()} if len(calls) == in_call else found

    monkeypatch.setattr(ChainHead, "losses", changed)


def diverge(cfg: CfgNode) -> str:
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    with pytest.raises(TrainingDiverged) as error:
        trainer.train()
    return str(error.value)


def checkpoints(cfg: CfgNode) -> list[str]:
    return sorted(file.name for file in Path(cfg.OUTPUT_DIR).glob("model_*"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda loss: loss * torch.nan, "loss_base is nan"),
        (lambda loss: loss * torch.inf, "loss_base is inf"),
        (_Spoil.apply, r"the gradient of \S+ is not finite"),
    ],
)
def test_the_message_names_loss_rate_and_images(
    config: CfgNode, change: Any, named: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(monkeypatch, 4, change)
    message = diverge(config)
    assert re.search(rf"iteration=3: .*{named}.*learning rate 0\.00\d+; images: \S+\.png, \S+\.png", message)
    # The weights after iteration 2 gave this loss; those before it are good.
    assert checkpoints(config) == ["model_0000000.pth", "model_0000001.pth", "model_0000002.pth.diverged"]
    assert (Path(config.OUTPUT_DIR) / "last_checkpoint").read_text() == "model_0000001.pth"
    assert "continues from model_0000001.pth" in message
    # One line in the log, without a traceback.
    assert not any("Traceback" in text for text in caplog.text.splitlines())
    monkeypatch.undo()
    hint = shlex.split(re.findall("`([^`]+)`", message)[0])
    assert hint[0] == "--resume"
    config.merge_from_list(hint[1:])
    trainer = Trainer(config)
    trainer.resume_or_load(resume=True)
    assert trainer.start_iter == 2
    trainer.train()
    assert "model_final.pth" in checkpoints(config)


def test_exploded_weights_are_not_good(config: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    # From the fifth step on the rate is absurd: the loss grows for some steps before it is not finite.
    run_step = Trainer.run_step

    def step(self: Trainer) -> None:
        if self.iter >= 3:
            for group in self.optimizer.param_groups:
                group["lr"] = 1e8
        run_step(self)

    monkeypatch.setattr(Trainer, "run_step", step)
    config.SOLVER.MAX_ITER = 60
    trainer = Trainer(config)
    trainer.resume_or_load(resume=False)
    try:
        trainer.train()
    except TrainingDiverged as error:
        assert "model_0000002.pth" in str(error)
        good = [name for name in checkpoints(config) if name.endswith(".pth")]
        assert good == ["model_0000000.pth", "model_0000001.pth", "model_0000002.pth"]
    else:
        pytest.fail("it did not diverge")


def test_weights_that_are_not_finite_are_not_saved(config: CfgNode) -> None:
    model = torch.nn.BatchNorm1d(3)
    check_finite(model, 1)
    model.running_var[1] = torch.inf
    with pytest.raises(TrainingDiverged, match="running_var"):
        check_finite(model, 1)


def test_a_crop_without_labels_is_no_divergence(config: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Item 16."""
    load = Trainer.build_train_loader

    def unlabeled(cfg: CfgNode) -> Any:
        for batch in load(cfg):
            for each in batch:
                each["sem_seg"] = torch.full_like(each["sem_seg"], 255)
            yield batch

    monkeypatch.setattr(Trainer, "build_train_loader", staticmethod(unlabeled))
    config.SOLVER.MAX_ITER = 1
    trainer = Trainer(config)
    trainer.train()
    assert trainer.storage.latest()["total_loss"][0] == 0
