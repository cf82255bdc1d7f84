"""Error prediction and detail correction around a base head."""

from typing import Any

import pytest
import torch
from base_heads import CLASSES, IGNORE, SHAPES, asp, make_inputs, make_targets, wrap
from detectron2.config import CfgNode
from torch import Tensor
from torch.nn import functional as F

from unified_seg.config import ConfigError
from unified_seg.heads import (
    ErrorCorrectionHead,
    HeadInputs,
    SemanticHead,
    SemanticPrediction,
    WrapperPrediction,
    build_semantic_head,
)
from unified_seg.meta_arch import build_model

LOWS = ["p4", "p3", "p2"]


def build(base: SemanticHead | None = None, **options: Any) -> ErrorCorrectionHead:
    torch.manual_seed(0)
    options = {"error_dim": 8, "detail_dim": 8, "threshold": 0.5, **options}
    return ErrorCorrectionHead(base or asp(), SHAPES, detail_features=LOWS, **options)


def fix_errors(wrapper: ErrorCorrectionHead, wrong: Tensor) -> None:
    """Make the error branch predict these errors, (N, 1, h, w) bool, for every input."""
    wrapper.error_branch.forward = lambda *_: torch.where(wrong, 9.0, -9.0)  # type: ignore[method-assign]


def make_errors() -> Tensor:
    return torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(3)) < 0.3


def predict_both(wrapper: ErrorCorrectionHead, inputs: HeadInputs) -> tuple[Tensor, Tensor]:
    """Return the logits of the base head and of the detail branch everywhere."""
    base = wrapper.base.predict(inputs)
    return base.logits, wrapper.detail_branch([inputs.features[name] for name in LOWS], base.context)


def test_detail_branch_replaces_the_predicted_errors() -> None:
    wrapper, inputs, wrong = build().eval(), make_inputs(), make_errors()
    fix_errors(wrapper, wrong)
    base, detail = predict_both(wrapper, inputs)
    assert torch.equal(wrapper.predict(inputs).logits, torch.where(wrong, detail, base))


def test_error_probability_equal_to_the_threshold_is_no_error() -> None:
    wrapper, inputs = build(threshold=0.5).eval(), make_inputs()
    wrapper.error_branch.forward = lambda *_: torch.zeros(2, 1, 16, 24)  # a probability of 1 / 2
    assert torch.equal(wrapper.predict(inputs).logits, predict_both(wrapper, inputs)[0])


@pytest.mark.parametrize(("output", "part"), [("base", 0), ("detail", 1)])
def test_output_can_be_one_of_the_two_predictions(output: str, part: int) -> None:
    wrapper, inputs = build(output=output).eval(), make_inputs()
    assert torch.equal(wrapper.predict(inputs).logits, predict_both(wrapper, inputs)[part])


def test_average_is_the_mean_of_probabilities() -> None:
    wrapper, inputs = build(output="average").eval(), make_inputs()
    base, detail = predict_both(wrapper, inputs)
    mean = (base.softmax(1) + detail.softmax(1)) / 2
    torch.testing.assert_close(wrapper.predict(inputs).logits.softmax(1), mean)


def test_cascade_replaces_pixels_of_low_confidence() -> None:
    wrapper, inputs = build(errors="unsure", hard_confidence=0.21).eval(), make_inputs()
    base, detail = predict_both(wrapper, inputs)
    unsure = base.softmax(1).amax(1, keepdim=True) <= 0.21
    assert 0 < unsure.float().mean() < 1
    assert torch.equal(wrapper.predict(inputs).logits, torch.where(unsure, detail, base))


def test_gradients_are_those_of_the_base_head_alone() -> None:
    alone, wrapper = asp(), build(threshold=0.0)
    alone.load_state_dict(wrapper.base.state_dict())
    gradients = []
    for each in (alone, wrapper):
        inputs = make_inputs()
        for value in inputs.features.values():
            value.requires_grad_()
        sum(each.losses(each.predict(inputs), make_targets()).values()).backward()
        gradients.append([value.grad for value in inputs.features.values()])
    for expected, found in zip(*gradients, strict=True):
        assert torch.equal(expected, found)
    for (name, expected), found in zip(alone.named_parameters(), wrapper.base.parameters(), strict=True):
        assert torch.equal(expected.grad, found.grad), name


@pytest.mark.parametrize("trained", ["base", "error_branch", "detail_branch"])
def test_frozen_parts_have_no_loss(trained: str) -> None:
    wrapper = build(threshold=0.0)
    for name, child in wrapper.named_children():
        child.requires_grad_(name == trained)
    losses = wrapper.losses(wrapper.predict(make_inputs()), make_targets())
    loss = {"base": "loss_sem_seg", "error_branch": "loss_error", "detail_branch": "loss_detail"}[trained]
    assert losses.keys() == {loss}
    losses[loss].backward()
    with torch.no_grad():  # evaluation measures all losses
        assert len(wrapper.losses(wrapper.predict(make_inputs()), make_targets())) == 3


@pytest.mark.parametrize("learn", ["errors", "all", "hardest"])
def test_detail_loss_counts_the_configured_pixels(learn: str) -> None:
    """The gradient of logits at the size of the targets shows which pixels count."""
    wrapper, labels = build(learn=learn), make_targets(height=16, width=24)
    wrong = make_errors()
    base = SemanticPrediction(torch.zeros(2, CLASSES, 16, 24))
    detail = torch.randn(2, CLASSES, 16, 24, generator=torch.Generator().manual_seed(4)).requires_grad_()
    error = torch.where(wrong, 9.0, -9.0)
    prediction = WrapperPrediction(detail, auxiliary={"error": error, "detail": detail}, base=base)
    wrapper.losses(prediction, labels)["loss_detail"].backward()
    counted, valid = detail.grad.abs().amax(1) > 0, labels != IGNORE
    if learn == "errors":
        assert torch.equal(counted, wrong[:, 0] & valid)
    elif learn == "all":
        assert torch.equal(counted, valid)
    else:
        losses = F.cross_entropy(detail, labels, ignore_index=IGNORE, reduction="none")
        assert counted.sum() == round(0.2 * valid.sum().item())
        assert losses[counted].min() >= losses[~counted & valid].max()


def test_cascade_trains_the_detail_branch_on_unsure_pixels() -> None:
    """The first image is sure of its class, by 1 / (1 + 4 e^-9) = 0.9995; the second is not, by 1 / 5."""
    wrapper, labels = build(errors="unsure"), make_targets(height=16, width=24)
    logits = torch.zeros(2, CLASSES, 8, 12)
    logits[0, 0] = 9
    detail = torch.randn(2, CLASSES, 16, 24, generator=torch.Generator().manual_seed(4)).requires_grad_()
    auxiliary = {"error": torch.full((2, 1, 16, 24), 9.0), "detail": detail}
    prediction = WrapperPrediction(detail, auxiliary=auxiliary, base=SemanticPrediction(logits))
    wrapper.losses(prediction, labels)["loss_detail"].backward()
    unsure = torch.tensor([False, True])[:, None, None]
    assert torch.equal(detail.grad.abs().amax(1) > 0, unsure & (labels != IGNORE))


def test_weights_of_classes_count_in_the_detail_branch_too(tiny_config: CfgNode) -> None:
    cfg = wrap(tiny_config, "ErrorCorrectionHead", "ASPRefinementHead")
    cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.DETAIL_FEATURES = LOWS
    cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.LEARN = "all"
    last = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES - 1
    cfg.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS = [0.0] * last + [1.0]
    wrapper = build_semantic_head(cfg, SHAPES)
    prediction = wrapper.predict(make_inputs())
    without = make_targets().masked_fill(make_targets() == last, 0)
    assert wrapper.losses(prediction, without)["loss_detail"] == 0
    assert wrapper.losses(prediction, torch.full_like(without, last))["loss_detail"] > 0


@pytest.mark.parametrize("learn", ["errors", "all", "hardest"])
def test_losses_without_gradients_are_those_of_training(learn: str) -> None:
    wrapper, inputs = build(learn=learn), make_inputs(height=256, width=512)
    labels = make_targets(2, 256, 512)
    wrong = torch.zeros(2, 1, 64, 128, dtype=torch.bool)
    wrong[0, 0, 6:9, 7] = True
    fix_errors(wrapper, wrong)
    trained = wrapper.losses(wrapper.predict(inputs), labels)["loss_detail"]
    with torch.no_grad():
        measured = wrapper.losses(wrapper.predict(inputs), labels)["loss_detail"]
    assert torch.equal(measured, trained)


def test_detail_branch_can_not_be_trained_without_its_output(correcting_config: CfgNode) -> None:
    wrapper = build(output="base")
    losses = wrapper.losses(wrapper.predict(make_inputs()), make_targets())
    assert losses.keys() == {"loss_sem_seg", "loss_error"}
    sum(losses.values()).backward()
    # Without a gradient DistributedDataParallel would wait for one.
    assert all(p.grad is not None for p in wrapper.parameters() if p.requires_grad)
    correcting_config.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.OUTPUT = "base"
    correcting_config.SOLVER.TRAIN_PARTS = ["sem_seg_head.detail_branch"]
    with pytest.raises(ConfigError, match=r"SOLVER\.TRAIN_PARTS: sem_seg_head\.detail_branch"):
        build_model(correcting_config)


def test_base_head_without_a_context_is_refused() -> None:
    class Bare(SemanticHead):
        def predict(self, inputs: HeadInputs) -> SemanticPrediction:
            return SemanticPrediction(inputs.features["p2"][:, :CLASSES])

    with pytest.raises(ValueError, match=r"ERROR_CORRECTION\.BASE: Bare has no context"):
        build(Bare(num_classes=CLASSES, ignore_value=IGNORE, common_stride=4))


def test_models_without_an_image_for_the_head_are_refused() -> None:
    """Such as Detectron2's PanopticFPN, which calls `forward` with features."""
    with pytest.raises(ValueError, match=r"META_ARCHITECTURE: ErrorCorrectionHead .* UnifiedSegmentor"):
        build()(make_inputs().features, make_targets())


def test_coarser_base_logits_are_upsampled_to_the_finest_feature() -> None:
    wrapper = build(asp(first_level=3)).eval()
    prediction = wrapper.predict(make_inputs())
    assert wrapper.common_stride == 4
    assert prediction.logits.shape == (2, CLASSES, 16, 24)
    assert {name: tuple(value.shape) for name, value in wrapper.logit_maps(prediction).items()} == {
        "uncorrected": (2, CLASSES, 8, 12),
        "error": (2, 1, 16, 24),
        "error_unbalanced": (2, 1, 16, 24),
    }


def test_balance_of_the_training_images_is_kept_and_undone() -> None:
    """Two images of 4 x 4 with 4 and 8 errors: weights of a correct pixel of 4 / 12 and 8 / 8, 2 / 3 on average."""
    wrapper = build().train()
    ground_truth = torch.zeros(2, 16, 16, dtype=torch.long)
    ground_truth[0, :4] = ground_truth[1, :8] = 1
    base = SemanticPrediction(torch.eye(CLASSES)[0].view(1, -1, 1, 1).expand(2, CLASSES, 4, 4) * 5)
    error = torch.zeros(2, 1, 4, 4, requires_grad=True)
    prediction = WrapperPrediction(base.logits, auxiliary={"error": error}, base=base)
    for _ in range(2):
        wrapper.losses(prediction, ground_truth)
    torch.testing.assert_close(wrapper.error_branch.balance, torch.tensor(2 / 3))
    # Even odds are then 2 / 3: a probability of 0.4.
    unbalanced = wrapper.logit_maps(prediction)["error_unbalanced"].sigmoid()
    torch.testing.assert_close(unbalanced, torch.full_like(error, 0.4))
    ground_truth[:] = 1
    wrapper.error_branch.eval()
    wrapper.losses(prediction, ground_truth)
    torch.testing.assert_close(wrapper.error_branch.balance, torch.tensor(2 / 3))


def test_wrapping_does_not_change_the_base_head() -> None:
    base = asp()
    state = {name: value.clone() for name, value in base.state_dict().items()}
    wrapper = ErrorCorrectionHead(base.train(), SHAPES, detail_features=LOWS)
    assert wrapper.base.training
    assert all(torch.equal(value, state[name]) for name, value in base.state_dict().items())


def test_parts_are_trained_from_the_base_head_on() -> None:
    assert build().training_order() == ["base", "error_branch", "detail_branch"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("DETAIL_FEATURES", ["p4", "p9"], r": the backbone has no p9; it has p2"),
        ("DETAIL_FEATURES", [], r": is empty; the backbone has p2"),
        ("DETAIL_FEATURES", ["p2", "p3"], r": must go from coarse to fine, got strides \[4, 8\]"),
        ("DETAIL_FEATURES", ["p4", "p3"], r": must end at stride 4 .* got 8"),
        ("ERRORS", "all", r" must be one of predicted, unsure, got 'all'"),
        ("LEARN", "some", r" must be one of errors, all, hardest, got 'some'"),
        ("OUTPUT", "both", r" must be one of corrected, base, detail, average, got 'both'"),
        ("THRESHOLD", 1.0, r": must be in \[0, 1\), got 1\.0"),
        ("HARD_CONFIDENCE", 1.5, r": must be in \[0, 1\], got 1\.5"),
        ("HARD_WEIGHT", 0.0, r": must be above 0, got 0\.0"),
        ("ERROR_DIM", 1, r": must be 2 or more, got 1"),
        ("DETAIL_DIM", 0, r": must be 1 or more, got 0"),
    ],
)
def test_invalid_values_are_refused(tiny_config: CfgNode, key: str, value: object, message: str) -> None:
    cfg = wrap(tiny_config, "ErrorCorrectionHead", "ASPRefinementHead")
    node = cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION
    node.DETAIL_FEATURES = LOWS
    node[key] = value
    with pytest.raises(ValueError, match=rf"MODEL\.SEM_SEG_HEAD\.ERROR_CORRECTION\.{key}{message}"):
        build_semantic_head(cfg, SHAPES)


def test_unknown_norm_names_the_node(tiny_config: CfgNode) -> None:
    cfg = wrap(tiny_config, "ErrorCorrectionHead", "ASPRefinementHead")
    cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.DETAIL_FEATURES = LOWS
    cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.NORM = "XN"
    with pytest.raises(ValueError, match=r"MODEL\.SEM_SEG_HEAD\.ERROR_CORRECTION.*'XN'"):
        build_semantic_head(cfg, SHAPES)
