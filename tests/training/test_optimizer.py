import pytest
import torch
from torch import nn

from unified_seg import get_config
from unified_seg.config import ConfigError
from unified_seg.training.optimizer import build_lr_scheduler, build_optimizer


def config(**solver):
    cfg = get_config()
    for key, value in {"BASE_LR": 1.0, "MAX_ITER": 100, "WARMUP_ITERS": 0, **solver}.items():
        cfg.SOLVER[key] = value
    return cfg


def rates(cfg):
    optimizer = build_optimizer(cfg, nn.Linear(2, 2))
    scheduler = build_lr_scheduler(cfg, optimizer)
    values = []
    for _ in range(cfg.SOLVER.MAX_ITER):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def test_poly_is_the_papers_formula():
    # lr * (1 - iter / max_iter) ** 0.9
    assert rates(config(LR_SCHEDULER_NAME="WarmupPolyLR")) == pytest.approx(
        [(1 - i / 100) ** 0.9 for i in range(100)], abs=1e-9
    )


def test_linear_falls_by_equal_steps():
    assert rates(config(LR_SCHEDULER_NAME="WarmupLinearLR")) == pytest.approx([1 - i / 100 for i in range(100)])


def test_poly_holds_its_constant_ending():
    values = rates(config(LR_SCHEDULER_NAME="WarmupPolyLR", POLY_LR_CONSTANT_ENDING=0.25))
    assert min(values) == 0.25 and values[0] == 1.0


def test_warmup_rises_from_its_factor_to_the_schedule():
    values = rates(config(LR_SCHEDULER_NAME="WarmupLinearLR", WARMUP_ITERS=10, WARMUP_FACTOR=0.1))
    assert values[0] == pytest.approx(0.1)
    assert values[:10] == sorted(values[:10])
    assert values[10] == pytest.approx(0.9)


def test_detectron2s_schedules_stay():
    values = rates(config(LR_SCHEDULER_NAME="WarmupMultiStepLR", STEPS=(50,)))
    assert values[49] == 1.0 and values[50] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "cls"), [("SGD", torch.optim.SGD), ("ADAM", torch.optim.Adam), ("ADAMW", torch.optim.AdamW)]
)
def test_optimizers_by_name(name, cls):
    cfg = config(OPTIMIZER=name, WEIGHT_DECAY=0.125, WEIGHT_DECAY_NORM=0.0)
    optimizer = build_optimizer(cfg, nn.Sequential(nn.Linear(2, 2), nn.GroupNorm(1, 2)))
    assert type(optimizer) is cls
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.125, 0.0}


def test_gradient_clipping_works_with_adam():
    cfg = config(OPTIMIZER="ADAMW")
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    assert isinstance(build_optimizer(cfg, nn.Linear(2, 2)), torch.optim.AdamW)


def test_unknown_optimizer_lists_the_known():
    with pytest.raises(ConfigError, match="'LION' is not one of SGD, ADAM, ADAMW"):
        build_optimizer(config(OPTIMIZER="LION"), nn.Linear(2, 2))
