import pytest
import torch
from detectron2.solver import build_optimizer as build_detectron2_optimizer
from torch import nn

from unified_seg import get_config
from unified_seg.checkpoint import Checkpointer
from unified_seg.config import ConfigError
from unified_seg.data.resolve import resolve_config
from unified_seg.meta_arch import build_model
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


def test_poly_schedule_is_the_formula_of_the_paper():
    # lr * (1 - iter / max_iter) ** 0.9
    assert rates(config(LR_SCHEDULER_NAME="WarmupPolyLR")) == pytest.approx(
        [(1 - i / 100) ** 0.9 for i in range(100)], abs=1e-9
    )


def test_linear_schedule_falls_by_equal_steps():
    assert rates(config(LR_SCHEDULER_NAME="WarmupLinearLR")) == pytest.approx([1 - i / 100 for i in range(100)])


def test_poly_schedule_keeps_its_constant_ending():
    values = rates(config(LR_SCHEDULER_NAME="WarmupPolyLR", POLY_LR_CONSTANT_ENDING=0.25))
    assert min(values) == 0.25 and values[0] == 1.0


def test_warmup_rises_from_its_factor_to_the_schedule():
    values = rates(config(LR_SCHEDULER_NAME="WarmupLinearLR", WARMUP_ITERS=10, WARMUP_FACTOR=0.1))
    assert values[0] == pytest.approx(0.1)
    assert values[:10] == sorted(values[:10])
    assert values[10] == pytest.approx(0.9)


def test_schedules_of_detectron2_are_available():
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


@pytest.mark.parametrize("name", ["SGD", "ADAM", "ADAMW"])
def test_fused_optimizers_do_the_same_but_for_rounding(name):
    weights = []
    for fused in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.GroupNorm(1, 7))
        optimizer = build_optimizer(config(OPTIMIZER=name, FUSED=fused, BASE_LR=0.1), model)
        assert bool(optimizer.defaults["fused"]) is fused
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 5)).square().sum().backward()
            optimizer.step()
        weights.append(nn.utils.parameters_to_vector(model.parameters()))
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


def test_a_fused_optimizer_does_not_clip():
    cfg = config(FUSED=True)
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    with pytest.raises(ConfigError, match=r"SOLVER\.FUSED"):
        build_optimizer(cfg, nn.Linear(2, 2))


def test_unknown_optimizer_is_an_error():
    with pytest.raises(ConfigError, match=r"SOLVER\.OPTIMIZER: .*'LION'"):
        build_optimizer(config(OPTIMIZER="LION"), nn.Linear(2, 2))


class Net(nn.Module):
    """A backbone and a head, each with a convolution or linear layer, biases and a norm."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.head = nn.Sequential(nn.Linear(2, 2), nn.GroupNorm(1, 2))


def by_parameter(model, optimizer):
    """(learning rate, weight decay) of each parameter by name; each must be in one group only."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        assert group["params"]
        for parameter in group["params"]:
            assert names[id(parameter)] not in found
            found[names[id(parameter)]] = (group["lr"], group["weight_decay"])
    return found


def test_new_layers_factor_multiplies_rates_of_detectron2():
    model = Net()
    cfg = config(
        NEW_LAYERS_LR_FACTOR=10.0,
        BASE_LR=0.5,
        WEIGHT_DECAY=0.25,
        WEIGHT_DECAY_NORM=0.0,
        BIAS_LR_FACTOR=2.0,
        WEIGHT_DECAY_BIAS=0.125,
    )
    assert by_parameter(model, build_optimizer(cfg, model)) == {
        "backbone.0.weight": (0.5, 0.25),
        "backbone.0.bias": (1.0, 0.125),  # biases twice as fast, with a decay of their own
        "backbone.1.weight": (0.5, 0.0),  # a norm, which does not decay
        "backbone.1.bias": (1.0, 0.125),
        "head.0.weight": (5.0, 0.25),  # and ten times that in the head
        "head.0.bias": (10.0, 0.125),
        "head.1.weight": (5.0, 0.0),
        "head.1.bias": (10.0, 0.125),
    }


def test_factor_of_one_keeps_the_groups_of_detectron2():
    model = Net()
    cfg = config(BIAS_LR_FACTOR=2.0, WEIGHT_DECAY_NORM=0.0, MOMENTUM=0.75, NESTEROV=True)
    built, reference = build_optimizer(cfg, model), build_detectron2_optimizer(cfg, model)
    assert len(built.param_groups) == len(reference.param_groups) == 4
    for group, expected in zip(built.param_groups, reference.param_groups):
        assert [id(p) for p in group["params"]] == [id(p) for p in expected["params"]]
        # How the step is computed (foreach, fused) differs between versions of Detectron2.
        rules = ("lr", "weight_decay", "momentum", "nesterov")
        assert {rule: group[rule] for rule in rules} == {rule: expected[rule] for rule in rules}


def test_model_without_backbone_is_new_without_frozen_parameters():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    optimizer = build_optimizer(config(NEW_LAYERS_LR_FACTOR=4.0), model)
    assert by_parameter(model, optimizer) == {"weight": (4.0, get_config().SOLVER.WEIGHT_DECAY)}


@pytest.mark.parametrize("architecture", ["UnifiedSegmentor", "GeneralizedRCNN", "PanopticFPN"])
def test_only_the_bottom_up_network_of_an_fpn_is_pretrained(tiny_config, architecture):
    tiny_config.MODEL.META_ARCHITECTURE = architecture
    if architecture == "PanopticFPN":
        tiny_config.MODEL.SEM_SEG_HEAD.NAME = "SemSegFPNHead"
    tiny_config.SOLVER.NEW_LAYERS_LR_FACTOR = 10.0
    model = build_model(resolve_config(tiny_config))
    rate = tiny_config.SOLVER.BASE_LR
    expected = {
        name: rate if name.startswith("backbone.bottom_up.") else 10 * rate
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    assert len(set(expected.values())) == 2
    found = by_parameter(model, build_optimizer(tiny_config, model))
    assert {name: values[0] for name, values in found.items()} == expected


@pytest.mark.parametrize("optimizer", ["SGD", "ADAMW"])
def test_schedule_and_resume_keep_the_factor(optimizer, tmp_path):
    cfg = config(
        NEW_LAYERS_LR_FACTOR=10.0, LR_SCHEDULER_NAME="WarmupPolyLR", MAX_ITER=20, WARMUP_ITERS=4, OPTIMIZER=optimizer
    )

    def start():
        model = Net()
        built = build_optimizer(cfg, model)
        return model, built, build_lr_scheduler(cfg, built)

    def steps(model, built, scheduler, count):
        rates = []
        for _ in range(count):
            rates.append(by_parameter(model, built))
            for parameter in model.parameters():
                parameter.grad = torch.ones_like(parameter)
            built.step()
            scheduler.step()
        return rates

    run = start()
    rates = steps(*run, 8)
    Checkpointer(run[0], str(tmp_path), optimizer=run[1], scheduler=run[2]).save("middle")
    rates += steps(*run, 12)
    resumed = start()
    Checkpointer(resumed[0], str(tmp_path), optimizer=resumed[1], scheduler=resumed[2]).resume_or_load("")
    assert steps(*resumed, 12) == rates[8:]
    for i, found in enumerate(rates):
        assert found["head.0.weight"][0] == pytest.approx(10 * found["backbone.0.weight"][0], rel=1e-12)
        if i >= 4:  # after the warm-up
            assert found["backbone.0.weight"][0] == pytest.approx((1 - i / 20) ** 0.9)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_factor_that_is_not_positive_is_an_error(factor):
    with pytest.raises(ConfigError, match=rf"SOLVER\.NEW_LAYERS_LR_FACTOR: .*{factor}"):
        build_optimizer(config(NEW_LAYERS_LR_FACTOR=factor), Net())


@pytest.mark.parametrize("name", ["SGD", "ADAMW"])
def test_full_model_clipping_limits_the_norm_over_all_parameters(name):
    cfg = config(OPTIMIZER=name, BASE_LR=0.1)
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED, cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = True, "full_model"
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.5
    torch.manual_seed(0)
    clipped, reference = nn.Linear(3, 4), nn.Linear(3, 4)
    reference.load_state_dict(clipped.state_dict())
    own = build_optimizer(cfg, clipped)
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    plain = build_optimizer(cfg, reference)
    for _ in range(3):
        for model, optimizer in ((clipped, own), (reference, plain)):
            optimizer.zero_grad()
            (7 * model(torch.ones(2, 3))).square().sum().backward()
            if optimizer is plain:
                assert nn.utils.clip_grad_norm_(model.parameters(), 0.5) > 0.5
            optimizer.step()
    for one, other in zip(clipped.parameters(), reference.parameters()):
        torch.testing.assert_close(one, other)
    norms = [parameter.grad.norm() for parameter in clipped.parameters()]
    assert torch.stack(norms).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_full_model_clipping_has_the_configured_norm():
    cfg = config()
    cfg.SOLVER.CLIP_GRADIENTS.update({"ENABLED": True, "CLIP_TYPE": "full_model", "CLIP_VALUE": 1.0, "NORM_TYPE": 1.0})
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(cfg, model)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0]]), torch.tensor([-1.0])
    optimizer.step()
    # |3| + |-1| = 4, so all are divided by 4.
    assert (model.weight.grad.item(), model.bias.grad.item()) == pytest.approx((0.75, -0.25), rel=1e-4)


def test_factors_of_modules_multiply_their_rates():
    model = Net()
    factors = [["head", 0.5], ["head.1", 3.0], ["backbone.0.bias", 0.25]]
    found = by_parameter(model, build_optimizer(config(LR_FACTORS=factors, NEW_LAYERS_LR_FACTOR=10.0), model))
    assert {name: rate for name, (rate, _) in found.items()} == {
        "backbone.0.weight": 1.0,
        "backbone.0.bias": 0.25,
        "backbone.1.weight": 1.0,
        "backbone.1.bias": 1.0,
        "head.0.weight": 5.0,
        "head.0.bias": 5.0,
        "head.1.weight": 30.0,  # of the factors that fit the last one holds
        "head.1.bias": 30.0,
    }


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([["heads", 2.0]], r"LR_FACTORS: .*'heads'; did you mean head\?"),
        ([["head", 0.0]], r"LR_FACTORS: head: .*0"),
        ([["head"]], r"LR_FACTORS: expected"),
    ],
)
def test_wrong_factors_of_modules_are_errors(factors, message):
    with pytest.raises(ConfigError, match=message):
        build_optimizer(config(LR_FACTORS=factors), Net())
