"""Error prediction and detail correction around each head."""

from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from inner_heads import BASES, CLASSES, IGNORE, SHAPES, asp, features, targets, wrap
from torch import Tensor

from unified_seg.config import ConfigError
from unified_seg.heads import (
    ASPRefinementHead,
    ErrorCorrectionHead,
    SemanticHead,
    SemanticPrediction,
    build_semantic_head,
)
from unified_seg.meta_arch import build_model

LOWS = ["p4", "p3", "p2"]


def head(base: SemanticHead | None = None, **options: Any) -> ErrorCorrectionHead:
    torch.manual_seed(0)
    options = {"error_dim": 8, "detail_dim": 8, "threshold": 0.5, "sparse": False, **options}
    return ErrorCorrectionHead(base or asp(), SHAPES, detail_features=LOWS, **options)


def sure_of(wrapper: ErrorCorrectionHead, wrong: Tensor) -> None:
    """Make its error branch say this, (N, 1, h, w) bool, whatever it sees."""
    wrapper.error_branch.forward = lambda *_: torch.where(wrong, 9.0, -9.0)  # type: ignore[method-assign]


def some_cells() -> Tensor:
    return torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(3)) < 0.3


def detail_of(wrapper: ErrorCorrectionHead, seen: dict[str, Tensor]) -> Tensor:
    context = wrapper.base.predict(seen).context
    return wrapper.detail_branch([seen[name] for name in LOWS], context)


def test_where_it_is_taken_to_be_wrong_the_detail_branch_answers():
    wrapper, seen, wrong = head().eval(), features(), some_cells()
    sure_of(wrapper, wrong)
    own, detail = wrapper.base.predict(seen).logits, detail_of(wrapper, seen)
    assert torch.equal(wrapper.predict(seen).logits, torch.where(wrong, detail, own))


@pytest.mark.parametrize(("output", "part"), [("base", 0), ("detail", 1)])
def test_one_of_the_two_answers_alone(output: str, part: int):
    wrapper, seen = head(output=output).eval(), features()
    own, detail = wrapper.base.predict(seen).logits, detail_of(wrapper, seen)
    assert torch.equal(wrapper.predict(seen).logits, (own, detail)[part])


def test_the_average_is_of_probabilities():
    wrapper, seen = head(output="average").eval(), features()
    own, detail = wrapper.base.predict(seen).logits, detail_of(wrapper, seen)
    mean = (own.softmax(1) + detail.softmax(1)) / 2
    torch.testing.assert_close(wrapper.predict(seen).logits.softmax(1), mean)


def test_a_cascade_takes_the_unsure_to_be_wrong():
    wrapper, seen = head(errors="unsure", hard_confidence=0.21).eval(), features()
    own, detail = wrapper.base.predict(seen).logits, detail_of(wrapper, seen)
    unsure = own.softmax(1).amax(1, keepdim=True) <= 0.21
    assert 0 < unsure.float().mean() < 1
    assert torch.equal(wrapper.predict(seen).logits, torch.where(unsure, detail, own))


def test_the_head_inside_learns_as_it_would_alone():
    """Gradients of both branches end at their inputs."""
    alone, wrapper = asp(), head(threshold=0.0)
    alone.load_state_dict(wrapper.base.state_dict())
    gradients = []
    for each in (alone, wrapper):
        seen = {name: value.requires_grad_() for name, value in features().items()}
        sum(each.losses(each.predict(seen), targets()).values()).backward()
        gradients.append([seen[name].grad for name in SHAPES])
    for expected, found in zip(*gradients, strict=True):
        assert torch.equal(expected, found)
    for (name, expected), found in zip(alone.named_parameters(), wrapper.base.parameters(), strict=True):
        assert torch.equal(expected.grad, found.grad), name


@pytest.mark.parametrize("trained", ["base", "error_branch", "detail_branch"])
def test_what_is_frozen_has_no_loss(trained: str):
    wrapper = head(threshold=0.0)
    for name, child in wrapper.named_children():
        child.requires_grad_(name == trained)
    losses = wrapper.losses(wrapper.predict(features()), targets())
    loss = {"base": "loss_sem_seg", "error_branch": "loss_error", "detail_branch": "loss_detail"}[trained]
    assert losses.keys() == {loss}
    losses[loss].backward()
    with torch.no_grad():
        assert len(wrapper.losses(wrapper.predict(features()), targets())) == 3


@pytest.mark.parametrize("learn", ["errors", "all", "hardest"])
def test_what_the_detail_branch_learns_from(learn: str):
    """The detail branch is replaced by logits at the size of the targets, whose gradient says which pixels count."""
    wrapper, labels = head(learn=learn), targets(height=16, width=24)
    wrong = some_cells()
    said = SemanticPrediction(torch.zeros(2, CLASSES, 16, 24))
    detail = torch.randn(2, CLASSES, 16, 24, generator=torch.Generator().manual_seed(4)).requires_grad_()
    error = torch.where(wrong, 9.0, -9.0)
    prediction = SemanticPrediction(detail, auxiliary={"error": error, "detail": detail}, base=said)
    wrapper.losses(prediction, labels)["loss_detail"].backward()
    counts, valid = detail.grad.abs().amax(1) > 0, labels != IGNORE
    if learn == "errors":
        assert torch.equal(counts, wrong[:, 0] & valid)
    elif learn == "all":
        assert torch.equal(counts, valid)
    else:
        each = torch.nn.functional.cross_entropy(detail, labels, ignore_index=IGNORE, reduction="none")
        assert counts.sum() == round(0.2 * valid.sum().item())
        assert each[counts].min() >= each[~counts & valid].max()


def test_asked_for_at_a_few_cells_the_detail_branch_answers_as_on_the_whole_map():
    """Without norms; see tests/layers/test_sparse_block.py for those."""
    wrapper, seen = head(norm="", sparse=True).eval(), features(height=256, width=512)
    wrong = torch.zeros(2, 1, 64, 128, dtype=torch.bool)
    wrong[0, 0, 6, 7] = wrong[0, 0, 63, 127] = True  # the second image has no error
    sure_of(wrapper, wrong)
    whole = wrapper.predict(seen)
    with torch.no_grad():
        few = wrapper.predict(seen)
    torch.testing.assert_close(few.logits, whole.logits)
    asked = wrong.expand_as(few.logits)
    assert few.auxiliary["detail"][asked].all() and not few.auxiliary["detail"][~asked].any()


@pytest.mark.parametrize("learn", ["errors", "all", "hardest"])
def test_a_loss_that_is_only_measured_is_that_of_the_whole_map(learn: str):
    wrapper, seen, labels = head(sparse=True, learn=learn), features(height=256, width=512), targets(2, 256, 512)
    wrong = torch.zeros(2, 1, 64, 128, dtype=torch.bool)
    wrong[0, 0, 6:9, 7] = True
    sure_of(wrapper, wrong)
    learned = wrapper.losses(wrapper.predict(seen), labels)["loss_detail"]
    with torch.no_grad():
        measured = wrapper.losses(wrapper.predict(seen), labels)["loss_detail"]
    assert torch.equal(measured, learned)


def test_a_detail_branch_that_is_left_out_is_not_trained(correcting_config: CfgNode):
    wrapper = head(output="base")
    losses = wrapper.losses(wrapper.predict(features()), targets())
    assert losses.keys() == {"loss_sem_seg", "loss_error"}
    sum(losses.values()).backward()
    # Without a gradient DistributedDataParallel would wait for one.
    assert all(p.grad is not None for p in wrapper.parameters() if p.requires_grad)
    correcting_config.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.OUTPUT = "base"
    correcting_config.SOLVER.TRAIN_PARTS = ["sem_seg_head.detail_branch"]
    with pytest.raises(ConfigError, match=r"nothing to train in sem_seg_head\.detail_branch"):
        build_model(correcting_config)


def test_a_head_without_a_context_is_refused():
    class Bare(SemanticHead):
        def predict(self, features: dict[str, Tensor]) -> SemanticPrediction:
            return SemanticPrediction(features["p2"][:, :CLASSES])

    with pytest.raises(ValueError, match=r"ERROR_CORRECTION\.BASE: the head inside gives no context"):
        head(Bare(num_classes=CLASSES, ignore_value=IGNORE, common_stride=4))


def test_coarser_logits_inside_come_to_the_finest_feature():
    shapes = {name: SHAPES[name] for name in ("p3", "p4", "p5")}
    base = ASPRefinementHead(
        shapes, num_classes=CLASSES, common_stride=8, conv_dim=8, asp_branch_dim=8, asp_rates=(1, 2, 3)
    )
    wrapper = head(base).eval()
    said = wrapper.predict(features())
    assert wrapper.common_stride == 4
    assert said.logits.shape == (2, CLASSES, 16, 24)
    maps = wrapper.logit_maps(said)
    assert {name: tuple(value.shape) for name, value in maps.items()} == {
        "uncorrected": (2, CLASSES, 8, 12),
        "error": (2, 1, 16, 24),
        "error_unbalanced": (2, 1, 16, 24),
    }


def test_the_balance_of_the_training_images_is_remembered_and_undone():
    """Two images of 4 x 4 with 4 and 8 errors: weights of a correct pixel of 4 / 12 and 8 / 8, 2 / 3 on average."""
    wrapper = head().train()
    ground_truth = torch.zeros(2, 16, 16, dtype=torch.long)
    ground_truth[0, :4] = ground_truth[1, :8] = 1
    said = SemanticPrediction(torch.eye(CLASSES)[0].view(1, -1, 1, 1).expand(2, CLASSES, 4, 4) * 5)
    error = torch.zeros(2, 1, 4, 4, requires_grad=True)
    prediction = SemanticPrediction(said.logits, auxiliary={"error": error}, base=said)
    wrapper.losses(prediction, ground_truth)
    wrapper.losses(prediction, ground_truth)
    torch.testing.assert_close(wrapper.error_branch.balance, torch.tensor(2 / 3))
    # Even odds are then 2 / 3: a probability of 0.4.
    torch.testing.assert_close(
        wrapper.logit_maps(prediction)["error_unbalanced"].sigmoid(), torch.full_like(error, 0.4)
    )
    ground_truth[:] = 1
    wrapper.error_branch.eval()
    wrapper.losses(prediction, ground_truth)
    torch.testing.assert_close(wrapper.error_branch.balance, torch.tensor(2 / 3))


def config(cfg: CfgNode, base: str) -> CfgNode:
    node = wrap(cfg, "ErrorCorrectionHead", base).MODEL.SEM_SEG_HEAD.ERROR_CORRECTION
    node.DETAIL_FEATURES = LOWS
    node.ERROR_DIM = node.DETAIL_DIM = 16
    node.THRESHOLD = 0.0
    return cfg


@pytest.mark.parametrize("base", BASES)
def test_every_head_can_be_inside(base: str, tiny_config: CfgNode):
    shapes = {name: ShapeSpec(channels=8, stride=shape.stride) for name, shape in SHAPES.items()}
    cfg = config(tiny_config, base)
    wrapper = build_semantic_head(cfg, shapes)
    cfg.MODEL.SEM_SEG_HEAD.NAME = base
    alone = build_semantic_head(cfg, shapes)
    assert isinstance(wrapper, ErrorCorrectionHead)
    # Its weights are a part of the wrapper's, by the same names.
    assert wrapper.load_state_dict(alone.state_dict(), strict=False).unexpected_keys == []
    seen = features() | {"valid": torch.ones(2, 1, 64, 96, dtype=torch.bool)}
    with torch.no_grad():
        torch.testing.assert_close(
            wrapper.eval().predict(seen).base.logits, alone.eval().predict(seen).logits, rtol=0, atol=0
        )
    losses = wrapper.train().losses(wrapper.predict(seen), targets())
    assert {"loss_sem_seg", "loss_error", "loss_detail"} <= losses.keys()
    sum(losses.values()).backward()
    for branch in (wrapper.error_branch, wrapper.detail_branch):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in branch.parameters())


def test_looking_at_the_head_inside_leaves_it_as_it_is():
    torch.manual_seed(0)
    base = asp()
    state = {name: value.clone() for name, value in base.state_dict().items()}
    generator = torch.get_rng_state()
    wrapper = ErrorCorrectionHead(base.train(), SHAPES, detail_features=LOWS)
    assert wrapper.base.training and not torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in base.state_dict().items())


def test_the_order_of_training():
    assert head().training_order() == ["base", "error_branch", "detail_branch"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"BASE": ""}, r"ERROR_CORRECTION\.BASE is empty: name the head that ErrorCorrectionHead is put around"),
        ({"BASE": "ErrorCorrectionHead"}, r"BASE: ErrorCorrectionHead would be put around itself"),
        ({"BASE": "NoHead"}, r"there is no semantic head 'NoHead'; known: .*ASPRefinementHead"),
        ({"DETAIL_FEATURES": ["p4", "p9"]}, r"DETAIL_FEATURES: the backbone has p2, .*, not p9"),
        ({"DETAIL_FEATURES": []}, r"DETAIL_FEATURES: the backbone has .*, not none"),
        ({"DETAIL_FEATURES": ["p2", "p3"]}, r"DETAIL_FEATURES: go from coarse to fine, not \[4, 8\]"),
        ({"DETAIL_FEATURES": ["p4", "p3"]}, r"DETAIL_FEATURES: end at stride 8, coarser than .* of stride 4"),
        ({"ERRORS": "all"}, r"ERRORS: 'all' is not one of predicted, unsure"),
        ({"LEARN": "some"}, r"LEARN: 'some' is not one of errors, all, hardest"),
        ({"OUTPUT": "both"}, r"OUTPUT: 'both' is not one of corrected, base, detail, average"),
        ({"THRESHOLD": 1.0}, r"THRESHOLD: must be 0 to 1, without 1, got 1\.0"),
        ({"HARD_CONFIDENCE": 1.5}, r"HARD_CONFIDENCE: must be 0 to 1, got 1\.5"),
        ({"HARD_WEIGHT": 0.0}, r"HARD_WEIGHT: must be above 0, got 0\.0"),
        ({"ERROR_DIM": 1}, r"ERROR_DIM: must be 2 or more, got 1"),
        ({"DETAIL_DIM": 0}, r"DETAIL_DIM: must be 1 or more, got 0"),
        ({"GATE": "tanh"}, r"ERROR_CORRECTION: .*'tanh'"),
    ],
)
def test_bad_input(tiny_config: CfgNode, changes: dict[str, Any], message: str):
    cfg = config(tiny_config, "ASPRefinementHead")
    for key, value in changes.items():
        cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION[key] = value
    with pytest.raises(ValueError, match=message):
        build_semantic_head(cfg, SHAPES)
