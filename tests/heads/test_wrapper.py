"""Wrappers around each other, in either order."""

import pytest
import torch
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from inner_heads import SHAPES, asp, features, targets

from unified_seg.evaluation.build import WRAPPERS
from unified_seg.heads import ConfusionGroupHead, ErrorCorrectionHead
from unified_seg.heads.wrapper import WrapperHead

LOSSES = {
    "base": "loss_sem_seg",
    "subnets": "loss_group_1",
    "error_branch": "loss_error",
    "detail_branch": "loss_detail",
}


def nested(outermost: str, output: str = "corrected") -> WrapperHead:
    """Both wrappers around the same kind of head."""
    torch.manual_seed(0)
    groups, correction = {"groups": [[1, 2]], "dim": 8}, {"detail_features": ["p4", "p3", "p2"], "output": output}
    correction |= {"error_dim": 8, "detail_dim": 8, "threshold": 0.0}
    if outermost == "groups":
        return ConfusionGroupHead(ErrorCorrectionHead(asp(), SHAPES, **correction), SHAPES, **groups)
    return ErrorCorrectionHead(ConfusionGroupHead(asp(), SHAPES, **groups), SHAPES, **correction)


def train_alone(head: WrapperHead, *parts: str) -> None:
    """Parts by their names in the state dict: whatever has no part's name is the innermost head's."""
    in_file = {id(value): name.split(".")[0] for name, value in head.state_dict(keep_vars=True).items()}
    for parameter in head.parameters():
        name = in_file[id(parameter)]
        parameter.requires_grad_((name if name in LOSSES else "base") in parts)


@pytest.mark.parametrize("outermost", ["groups", "correction"])
@pytest.mark.parametrize("parts", [*((part,) for part in LOSSES), ("subnets", "error_branch"), tuple(LOSSES)])
def test_each_part_that_is_trained_has_its_loss(outermost: str, parts: tuple[str, ...]) -> None:
    head = nested(outermost)
    train_alone(head, *parts)
    losses = head.losses(head.predict(features()), targets())
    assert losses.keys() == {LOSSES[part] for part in parts}
    sum(losses.values()).backward()
    # Without a gradient DistributedDataParallel would wait for one.
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in head.parameters())


@pytest.mark.parametrize("outermost", ["groups", "correction"])
def test_the_error_branch_learns_before_there_are_details(outermost: str) -> None:
    """The answer of an ErrorCorrectionHead is then that of the frozen head inside it."""
    head = nested(outermost, output="base")
    train_alone(head, "error_branch")
    assert head.losses(head.predict(features()), targets()).keys() == {"loss_error"}


def test_the_order_changes_no_name_of_weights() -> None:
    groups, correction = nested("groups"), nested("correction")
    shapes = [{name: value.shape for name, value in head.state_dict().items()} for head in (groups, correction)]
    assert shapes[0] == shapes[1]
    assert asp().state_dict().keys() < shapes[0].keys()
    groups.load_state_dict(correction.state_dict())
    for name, value in correction.state_dict().items():
        assert torch.equal(groups.state_dict()[name], value)


@pytest.mark.parametrize("outermost", ["groups", "correction"])
def test_what_both_say_beside_the_answer(outermost: str) -> None:
    head = nested(outermost).eval()
    said = head.predict(features())
    own = {"groups": ["ungrouped"], "correction": ["uncorrected", "error", "error_unbalanced"]}
    inner = "correction" if outermost == "groups" else "groups"
    # In the order of the heads, from the inside out: pictures stand in it.
    assert list(head.logit_maps(said)) == own[inner] + own[outermost]
    assert head.needs_image and head.size_divisibility == head.base.base.size_divisibility


def test_the_evaluation_knows_every_wrapper() -> None:
    heads = dict(SEM_SEG_HEADS_REGISTRY)
    known = {name: kind.config_node for name, kind in heads.items() if issubclass(kind, WrapperHead)}
    assert known == WRAPPERS
