"""SOLVER.TRAIN_PARTS on a small chain of parts and on Detectron2's detector."""

import copy

import pytest
import torch
from chain_model import ChainHead, chain_config
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unified_seg.config import ConfigError
from unified_seg.data.pipeline.mapper import UnifiedMapper
from unified_seg.meta_arch import FreezableModel, UnifiedSegmentor, build_model
from unified_seg.training.optimizer import build_optimizer

BACKBONE = ["backbone.conv.weight", "backbone.conv.bias", "backbone.norm.weight", "backbone.norm.bias"]


def built(cfg: CfgNode, parts: list[str]) -> UnifiedSegmentor:
    torch.manual_seed(0)
    cfg.SOLVER.TRAIN_PARTS = parts
    model = build_model(cfg)
    assert isinstance(model, UnifiedSegmentor)
    return model


def batch(cfg: CfgNode, count: int = 2) -> list[dict]:
    mapper = UnifiedMapper(cfg, True)
    return [mapper(record) for record in DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[:count]]


def of_part(part: str) -> list[str]:
    return [f"sem_seg_head.{part}.{name}" for name in
            ("norm.weight", "norm.bias", "classifier.weight", "classifier.bias")]  # fmt: skip


def trainable(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def in_training(model: nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if module.training}


def test_only_the_parts_and_modules_around_them_are_in_training(tiny_config: CfgNode) -> None:
    model = built(chain_config(tiny_config), ["sem_seg_head.second"])
    assert trainable(model) == of_part("second")
    around = {"", "sem_seg_head"}
    inside = {f"sem_seg_head.second{name}" for name in ("", ".norm", ".dropout", ".classifier")}
    assert in_training(model) == around | inside
    assert in_training(model.eval()) == set()
    # As after an evaluation.
    assert in_training(model.train(True)) == around | inside


def test_without_parts_everything_is_trained(tiny_config: CfgNode) -> None:
    model = built(chain_config(tiny_config), [])
    assert trainable(model) == [*BACKBONE, *of_part("base"), *of_part("second"), *of_part("third")]
    assert all(module.training for module in model.modules())
    assert model.required_weights() == []


def test_part_inside_another_part_changes_nothing(tiny_config: CfgNode) -> None:
    model = built(chain_config(tiny_config), ["backbone.norm", "backbone"])
    assert trainable(model) == BACKBONE
    assert {name.split(".")[0] for name in in_training(model)} == {"", "backbone"}
    assert {"backbone.conv", "backbone.dropout"} <= in_training(model)


def test_parts_can_be_changed_and_cleared(tiny_config: CfgNode) -> None:
    model = built(chain_config(tiny_config), ["sem_seg_head.second"])
    model.train_only(["backbone.norm"])
    assert trainable(model) == BACKBONE[2:]
    assert in_training(model) == {"", "backbone", "backbone.norm"}
    model.train_only(())
    assert len(trainable(model)) == 16 and all(module.training for module in model.modules())
    frozen = copy.deepcopy(built(tiny_config, ["sem_seg_head.second"]))
    assert trainable(frozen.train()) == of_part("second")


def test_parameters_of_modules_around_a_part_are_frozen() -> None:
    class Model(FreezableModel):
        def __init__(self) -> None:
            super().__init__()
            self.outer = nn.Sequential(nn.Linear(1, 1))
            self.outer.register_parameter("scale", nn.Parameter(torch.ones(1)))
            self.outer.register_buffer("kept", torch.ones(1))
            self.outer.register_buffer("derived", torch.ones(1), persistent=False)
            self.train_only(["outer.0"])

    model = Model()
    assert trainable(model) == ["outer.0.weight", "outer.0.bias"]
    assert model.required_weights() == ["outer.scale", "outer.kept"]


def test_parameters_frozen_by_detectron2_stay_frozen(tiny_config: CfgNode) -> None:
    tiny_config.MODEL.BACKBONE.FREEZE_AT = 2
    everything = trainable(built(tiny_config, []))
    assert not any(".stem." in name or ".res2." in name for name in everything)
    required = built(tiny_config, []).required_weights()
    assert required and all(".stem." in name or ".res2." in name for name in required)
    model = built(tiny_config, ["backbone"])
    assert set(required) < set(model.required_weights())
    assert trainable(model) == [name for name in everything if name.startswith("backbone.")]
    model.train_only(())
    assert trainable(model) == everything
    with pytest.raises(ConfigError, match=r"backbone\.bottom_up\.stem has no trainable parameter"):
        built(tiny_config, ["backbone.bottom_up.stem"])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["sem_seg_head.secnd"], r"unknown part 'sem_seg_head\.secnd'; did you mean `sem_seg_head\.second`\?"),
        (["nothing"], "unknown part 'nothing'; the model has backbone, sem_seg_head"),
        ([""], "unknown part ''"),
        (["roi_heads"], "unknown part 'roi_heads'"),
        (["sem_seg_head.base.dropout"], r"sem_seg_head\.base\.dropout has no trainable parameter"),
    ],
)
def test_invalid_parts_are_refused(tiny_config: CfgNode, parts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"SOLVER.TRAIN_PARTS: .*{message}"):
        built(chain_config(tiny_config), parts)


def test_parts_need_unified_segmentor(tiny_config: CfgNode) -> None:
    tiny_config.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    tiny_config.SOLVER.TRAIN_PARTS = ["backbone"]
    with pytest.raises(ConfigError, match=r"TRAIN_PARTS needs .* UnifiedSegmentor, got SemanticSegmentor"):
        build_model(tiny_config)


def test_weighted_loss_needs_unified_segmentor(tiny_config: CfgNode) -> None:
    """Other architectures build their heads without it, and would silently train by cross-entropy."""
    tiny_config.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    tiny_config.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX = "sem_seg.npz"
    with pytest.raises(ConfigError, match=r"CONFUSION_LOSS\.MATRIX needs .* UnifiedSegmentor, got SemanticSeg"):
        build_model(tiny_config)


@pytest.mark.parametrize("factor", [1.0, 10.0])
def test_optimizer_gets_only_the_parts(tiny_config: CfgNode, factor: float) -> None:
    cfg = chain_config(tiny_config)
    cfg.SOLVER.NEW_LAYERS_LR_FACTOR = factor
    model = built(cfg, ["sem_seg_head.third", "backbone.norm"])
    given_to = [id(p) for group in build_optimizer(cfg, model).param_groups for p in group["params"]]
    named = dict(model.named_parameters())
    assert sorted(given_to) == sorted(id(named[name]) for name in [*BACKBONE[2:], *of_part("third")])


@pytest.mark.parametrize(
    ("parts", "losses"),
    [
        ([], {"loss_base", "loss_second", "loss_third"}),
        (["backbone"], {"loss_base"}),  # through the frozen base
        (["sem_seg_head.second"], {"loss_second"}),
        (["backbone", "sem_seg_head.third"], {"loss_base", "loss_third"}),
    ],
)
def test_frozen_parts_have_no_loss(tiny_config: CfgNode, parts: list[str], losses: set[str]) -> None:
    model = built(chain_config(tiny_config), parts)
    assert model(batch(tiny_config)).keys() == losses


SEMANTIC = {"loss_sem_seg"}
FIRST = {"loss_rpn_cls", "loss_rpn_loc"}
SECOND = {"loss_cls", "loss_box_reg", "loss_mask"}


@pytest.mark.parametrize(
    ("parts", "losses"),
    [
        (["sem_seg_head"], SEMANTIC),
        (["backbone"], SEMANTIC),
        (["proposal_generator"], FIRST),
        (["roi_heads"], SECOND),
        (["roi_heads.box_predictor"], SECOND),
        (["roi_heads.mask_head", "sem_seg_head.classifier"], SEMANTIC | SECOND),
        (["backbone", "proposal_generator", "roi_heads"], SEMANTIC | FIRST | SECOND),
    ],
)
def test_detector_has_the_losses_of_its_trained_parts(tiny_config: CfgNode, parts: list[str], losses: set[str]) -> None:
    model = built(tiny_config, parts)
    inputs = batch(tiny_config)
    if not losses & (FIRST | SECOND):
        for x in inputs:
            del x["instances"]  # ground truth that no loss reads may be missing
    if not losses & SEMANTIC:
        for x in inputs:
            del x["sem_seg"]
    computed = model(inputs)
    assert computed.keys() == losses
    sum(computed.values()).backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} <= set(trainable(model))
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())


def test_model_without_a_loss_is_refused(tiny_config: CfgNode) -> None:
    model = built(chain_config(tiny_config), [])
    model.requires_grad_(False)
    with pytest.raises(ValueError, match=r"SOLVER\.TRAIN_PARTS: .*no loss"):
        model(batch(tiny_config))


REQUIRED_OF_BACKBONE = [*BACKBONE, "backbone.norm.running_mean", "backbone.norm.running_var"]


def required_of(part: str) -> list[str]:
    return [*of_part(part), *(f"sem_seg_head.{part}.norm.running_{name}" for name in ("mean", "var"))]


@pytest.mark.parametrize(
    ("parts", "required"),
    [
        # `third` comes after `second`, which does not depend on it.
        (["sem_seg_head.second"], [*REQUIRED_OF_BACKBONE, *required_of("base")]),
        (["sem_seg_head.third"], [*REQUIRED_OF_BACKBONE, *required_of("base"), *required_of("second")]),
        (["backbone"], required_of("base")),  # one step of the order
        (["backbone", "sem_seg_head.base"], []),
        (["backbone", "sem_seg_head.third"], [*required_of("base"), *required_of("second")]),
        (["backbone", "sem_seg_head.base.norm"], ["sem_seg_head.base.classifier.weight",
                                                   "sem_seg_head.base.classifier.bias"]),
    ],
)  # fmt: skip
def test_frozen_parts_before_a_trained_one_require_weights(
    tiny_config: CfgNode, parts: list[str], required: list[str]
) -> None:
    assert sorted(built(chain_config(tiny_config), parts).required_weights()) == sorted(required)


def test_training_order_of_a_plain_head_has_one_step(tiny_config: CfgNode) -> None:
    model = built(tiny_config, ["sem_seg_head.classifier"])
    assert model.training_order() == [["backbone", "sem_seg_head"]]
    assert model.trained_steps() == [0]
    required = model.required_weights()
    assert not any(name.startswith("sem_seg_head.classifier.") for name in required)
    assert {name.split(".")[0] for name in required} == {"backbone", "proposal_generator", "roi_heads", "sem_seg_head"}


def test_detector_is_not_in_the_training_order(tiny_config: CfgNode) -> None:
    model = built(tiny_config, ["roi_heads"])
    assert model.trained_steps() == []
    assert {name.split(".")[0] for name in model.required_weights()} == {
        "backbone", "proposal_generator", "sem_seg_head",
    }  # fmt: skip


class Tree(FreezableModel):
    """Two binary levels, each module with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        for a in "xy":
            inner = nn.ModuleDict({b: nn.BatchNorm1d(1) for b in "xy"})
            inner.register_parameter("own", nn.Parameter(torch.ones(1)))
            self.add_module(a, inner)
        self.train_only(())


PATHS = ["x", "y", "x.x", "x.y", "y.x", "y.y"]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(PATHS), unique=True), min_size=1, max_size=4), st.booleans())
def test_only_the_last_call_of_train_only_counts(calls: list[list[str]], mode: bool) -> None:
    model = Tree()
    for parts in calls:
        model.train_only(parts)
        model.train(not mode)
    model.train(mode)
    parts = calls[-1]
    for name, module in model.named_modules():
        inside = not parts or any(f"{name}.".startswith(f"{part}.") for part in parts)
        around = not name or any(part.startswith(f"{name}.") for part in parts)
        assert module.training == (mode and (inside or around))
        assert all(p.requires_grad == inside for p in module.parameters(recurse=False))


def test_parts_of_the_chain_do_not_train_each_other(tiny_config: CfgNode) -> None:
    model = built(chain_config(tiny_config), [])
    assert isinstance(model.sem_seg_head, ChainHead)
    losses = model(batch(tiny_config))
    losses["loss_second"].backward()
    assert model.sem_seg_head.base.classifier.weight.grad is None
    assert model.sem_seg_head.second.classifier.weight.grad.any()
