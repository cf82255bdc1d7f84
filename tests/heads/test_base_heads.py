"""Every head as the base head of every wrapper, as configs build them."""

import pytest
import torch
from base_heads import BASES, NODES, SHAPES, make_inputs, make_targets, wrap
from detectron2.config import CfgNode

from unified_seg.heads import ConfusionGroupHead, ErrorCorrectionHead, WrapperHead, build_semantic_head

OWN_PARTS = {"ConfusionGroupHead": ["subnets"], "ErrorCorrectionHead": ["error_branch", "detail_branch"]}
OWN_LOSSES = {
    "ConfusionGroupHead": {"loss_group_1", "loss_group_2"},
    "ErrorCorrectionHead": {"loss_error", "loss_detail"},
}


def configure(cfg: CfgNode, wrapper: str, base: str) -> CfgNode:
    """Turn a config into that of a wrapper around a base head; the keys of the other wrapper are set as well."""
    node = wrap(cfg, wrapper, base).MODEL.SEM_SEG_HEAD
    node.CLASS_NAMES = ["road", "car", "truck", "person", "rider"]
    node.CONFUSION_GROUPS.GROUPS, node.CONFUSION_GROUPS.DIM = [["car", "truck"], ["rider", "person"]], 16
    correction = node.ERROR_CORRECTION
    correction.DETAIL_FEATURES, correction.THRESHOLD = ["p4", "p3", "p2"], 0.0
    correction.ERROR_DIM = correction.DETAIL_DIM = 16
    return cfg


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("base", BASES)
def test_wrapper_keeps_the_base_head_and_trains(name: str, base: str, tiny_config: CfgNode) -> None:
    cfg = configure(tiny_config, name, base)
    wrapper = build_semantic_head(cfg, SHAPES)
    assert isinstance(wrapper, WrapperHead)
    cfg.MODEL.SEM_SEG_HEAD.NAME = base
    alone = build_semantic_head(cfg, SHAPES)
    loaded = wrapper.load_state_dict(alone.state_dict(), strict=False)
    assert not loaded.unexpected_keys and {key.split(".")[0] for key in loaded.missing_keys} == set(OWN_PARTS[name])
    inputs = make_inputs()
    with torch.no_grad():
        prediction = wrapper.eval().predict(inputs)
        assert torch.equal(prediction.base.logits, alone.eval().predict(inputs).logits)
    losses = wrapper.train().losses(wrapper.predict(inputs), make_targets())
    assert {"loss_sem_seg"} | OWN_LOSSES[name] <= losses.keys()
    sum(losses.values()).backward()
    for part in OWN_PARTS[name]:
        assert all(p.grad is not None and p.grad.isfinite().all() for p in wrapper.get_submodule(part).parameters())


def test_wrappers_of_wrappers_are_built_in_either_order(tiny_config: CfgNode) -> None:
    cfg = configure(tiny_config, "ConfusionGroupHead", "PSPHead")
    node = cfg.MODEL.SEM_SEG_HEAD
    node.NAME, node.ERROR_CORRECTION.BASE = "ErrorCorrectionHead", "ConfusionGroupHead"
    corrected = build_semantic_head(cfg, SHAPES)
    assert isinstance(corrected, ErrorCorrectionHead) and isinstance(corrected.base, ConfusionGroupHead)
    assert corrected.training_order() == ["base.base", "base.subnets", "error_branch", "detail_branch"]
    losses = corrected.losses(corrected.predict(make_inputs()), make_targets())
    own = {loss for each in OWN_LOSSES.values() for loss in each}
    assert losses.keys() == {"loss_sem_seg", "loss_sem_seg_auxiliary"} | own
    node.NAME, node.ERROR_CORRECTION.BASE = "ConfusionGroupHead", "PSPHead"
    node.CONFUSION_GROUPS.BASE = "ErrorCorrectionHead"
    grouped = build_semantic_head(cfg, SHAPES)
    assert grouped.training_order() == ["base.base", "base.error_branch", "base.detail_branch", "subnets"]
    assert grouped.predict(make_inputs()).logits.isfinite().all()


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("", "is empty: name the base head of {name}"),
        ("NoHead", "unknown semantic head 'NoHead'; known: .*ASPRefinementHead"),
        ("{name}", "{name} can't be its own base head"),
        ("{other}", "{name} can't be its own base head"),
    ],
)
def test_invalid_base_heads_are_refused(name: str, base: str, message: str, tiny_config: CfgNode) -> None:
    """The last one is a base head whose own base head is the wrapper."""
    (other,) = NODES.keys() - {name}
    cfg = configure(tiny_config, name, "ASPRefinementHead")
    node = cfg.MODEL.SEM_SEG_HEAD
    node[NODES[name]].BASE, node[NODES[other]].BASE = base.format(name=name, other=other), name
    with pytest.raises(ValueError, match=r"MODEL\.SEM_SEG_HEAD\..*\.BASE.* " + message.format(name=name)):
        build_semantic_head(cfg, SHAPES)
