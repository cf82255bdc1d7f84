"""Wrapper heads nested in either order, and the names of their weights."""

from collections.abc import Callable

import pytest
import torch
from base_heads import CLASSES, SHAPES, asp, make_inputs, make_targets
from torch import Tensor, nn

from unified_seg.checkpoint import Checkpointer
from unified_seg.heads import ConfusionGroupHead, ErrorCorrectionHead, SemanticHead, WrapperHead

# The loss of each part.
LOSSES = {
    "base": "loss_sem_seg",
    "subnets": "loss_group_1",
    "error_branch": "loss_error",
    "detail_branch": "loss_detail",
}
OWN_PARTS = tuple(LOSSES)[1:]
ORDERS = ["groups", "correction"]
State = dict[str, Tensor]


def nest(outermost: str, output: str = "corrected", seed: int = 0) -> WrapperHead:
    """Return both wrappers around the same kind of head."""
    torch.manual_seed(seed)
    groups, correction = {"groups": [[1, 2]], "dim": 8}, {"detail_features": ["p4", "p3", "p2"], "output": output}
    correction |= {"error_dim": 8, "detail_dim": 8, "threshold": 0.0}
    if outermost == "groups":
        return ConfusionGroupHead(ErrorCorrectionHead(asp(), SHAPES, **correction), **groups)
    return ErrorCorrectionHead(ConfusionGroupHead(asp(), **groups), SHAPES, **correction)


def flat_names(state: State) -> State:
    """Return the weights under the names of older files, as if there were no wrapper."""
    return {name.replace("base.", ""): value for name, value in state.items()}


def part_of(name: str) -> str:
    first = name.replace("base.", "").split(".")[0]
    return first if first in LOSSES else "base"


def train_alone(head: WrapperHead, *parts: str) -> None:
    for name, parameter in head.named_parameters():
        parameter.requires_grad_(part_of(name) in parts)


@pytest.mark.parametrize("outermost", ORDERS)
@pytest.mark.parametrize("parts", [*((part,) for part in LOSSES), ("subnets", "error_branch"), tuple(LOSSES)])
def test_trained_parts_have_a_loss_and_gradients(outermost: str, parts: tuple[str, ...]) -> None:
    head = nest(outermost)
    train_alone(head, *parts)
    losses = head.losses(head.predict(make_inputs()), make_targets())
    assert losses.keys() == {LOSSES[part] for part in parts}
    sum(losses.values()).backward()
    # Without a gradient DistributedDataParallel would wait for one.
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in head.parameters())


@pytest.mark.parametrize("outermost", ORDERS)
def test_error_branch_trains_before_the_detail_branch(outermost: str) -> None:
    """The logits of an ErrorCorrectionHead are then those of its frozen base head."""
    head = nest(outermost, output="base")
    train_alone(head, "error_branch")
    assert head.losses(head.predict(make_inputs()), make_targets()).keys() == {"loss_error"}


@pytest.mark.parametrize("outermost", ORDERS)
def test_maps_of_both_wrappers_come_from_the_inside_out(outermost: str) -> None:
    head = nest(outermost).eval()
    own = {"groups": ["ungrouped"], "correction": ["uncorrected", "error", "error_unbalanced"]}
    inner = "correction" if outermost == "groups" else "groups"
    assert list(head.logit_maps(head.predict(make_inputs()))) == own[inner] + own[outermost]
    assert head.size_divisibility == head.base.base.size_divisibility


def load_plainly(model: nn.Module, state: State) -> None:
    model.load_state_dict(state)


def load_by_checkpointer(model: nn.Module, state: State) -> None:
    Checkpointer(model, complete=True).load_weights(state, "old.pth")


@pytest.mark.parametrize("load", [load_plainly, load_by_checkpointer])
@pytest.mark.parametrize("outermost", ORDERS)
@pytest.mark.parametrize("file", ["same", "flat names", "other order"])
def test_files_of_any_nesting_load(outermost: str, file: str, load: Callable[[nn.Module, State], None]) -> None:
    """As a part of a model, whose names have a prefix."""
    model = nn.ModuleDict({"sem_seg_head": nest(outermost)})
    other = nest(ORDERS[1 - ORDERS.index(outermost)] if file == "other order" else outermost, seed=1)
    state = nn.ModuleDict({"sem_seg_head": other}).state_dict()
    given = flat_names(state) if file == "flat names" else dict(state)
    names = list(given)
    load(model, given)
    assert list(given) == names, "the caller's dictionary changed"
    loaded, expected = flat_names(model.state_dict()), flat_names(state)
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.items())


@pytest.mark.parametrize("outermost", ORDERS)
def test_weights_of_a_base_head_load_into_wrappers_and_back(outermost: str) -> None:
    wrapper, alone = nest(outermost), asp()
    loaded = wrapper.load_state_dict(alone.state_dict(), strict=False)
    assert not loaded.unexpected_keys and {part_of(name) for name in loaded.missing_keys} == set(OWN_PARTS)
    for file in (wrapper.state_dict(), flat_names(wrapper.state_dict())):
        for parameter in alone.parameters():
            nn.init.zeros_(parameter)
        loaded = alone.load_state_dict(file, strict=False)
        assert not loaded.missing_keys and {part_of(name) for name in loaded.unexpected_keys} == set(OWN_PARTS)
        for (name, value), expected in zip(alone.state_dict().items(), wrapper.base.base.state_dict().values()):
            assert torch.equal(value, expected), name


def test_own_module_named_base_keeps_its_name() -> None:
    class Head(SemanticHead):
        def __init__(self) -> None:
            super().__init__(num_classes=CLASSES, ignore_value=255, common_stride=4)
            self.base, self.other = nn.Linear(1, 1), nn.Linear(1, 1)

    head = Head()
    head.load_state_dict(Head().state_dict())
    assert {name.split(".")[0] for name in head.state_dict()} == {"base", "other"}
