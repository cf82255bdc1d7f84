"""Subnets for groups of confused classes around a base head."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from base_heads import CLASSES, IGNORE, SHAPES, asp, make_inputs, make_targets, wrap
from detectron2.config import CfgNode
from torch import Tensor
from torch.nn import functional as F

from unified_seg.checkpoint import Checkpointer, CheckpointError
from unified_seg.heads import ConfusionGroupHead, HeadInputs, SemanticHead, SemanticPrediction, build_semantic_head
from unified_seg.heads.confusion_groups.groups import join, join_members
from unified_seg.heads.confusion_groups.loss import confusion_weighted_loss
from unified_seg.heads.confusion_groups.matrix import normalize_rows

NAMES = ["road", "car", "truck", "person", "rider"]
GROUPS = [[1, 2], [3, 4]]


def build(base: SemanticHead | None = None, **options: Any) -> ConfusionGroupHead:
    torch.manual_seed(0)
    return ConfusionGroupHead(base or asp(), **{"groups": GROUPS, "dim": 8, **options})


def fix_logits(wrapper: ConfusionGroupHead, subnet: int, logits: Tensor) -> None:
    """Make a subnet return these logits for every input."""
    wrapper.subnets[subnet].forward = lambda _: logits  # type: ignore[method-assign]


def normalize(*numbers: float) -> list[float]:
    return [number / sum(numbers) for number in numbers]


def mean_of(*predictions: Sequence[float]) -> list[float]:
    """Return the mean of several, each normalized to a sum of 1."""
    return [sum(shares) / len(predictions) for shares in zip(*(normalize(*each) for each in predictions))]


@pytest.mark.parametrize(
    ("others", "rule", "expected"),
    # The base head predicts 0.2, 0.3, 0.2, 0.2, 0.1. The subnet of car and truck: others 0.1, car 0.2, truck 0.7; for
    # all classes (0.1, 0.2, 0.7, 0.1, 0.1) / 1.2. That of person and rider: others 0.8, 0.1, 0.1; (8, 8, 8, 1, 1) / 26.
    [
        ("copy", "sum", mean_of((2, 3, 2, 2, 1), (1, 2, 7, 1, 1), (8, 8, 8, 1, 1))),
        # Products of the numerators: 2 * 1 * 8 = 16, 3 * 2 * 8 = 48, 2 * 7 * 8 = 112, 2, 1; their sum is 179.
        ("copy", "product", [16 / 179, 48 / 179, 112 / 179, 2 / 179, 1 / 179]),
        # Each with the subnet of its group; road alone: 0.2, (0.3 + 0.2) / 2, (0.2 + 0.7) / 2, (0.2 + 0.1) / 2, 0.1.
        ("abstain", "sum", [x / 1.15 for x in (0.2, 0.25, 0.45, 0.15, 0.1)]),
        ("abstain", "product", normalize(0.2, 0.06**0.5, 0.14**0.5, 0.02**0.5, 0.1)),
    ],
)
def test_joint_probabilities_match_hand_computed_ones(others: str, rule: str, expected: list[float]) -> None:
    wrapper = build(rule=rule, others=others).eval()

    def everywhere(probabilities: list[float]) -> Tensor:
        return torch.tensor(probabilities).log().view(1, -1, 1, 1).expand(2, -1, 16, 24)

    base = SemanticPrediction(everywhere([0.2, 0.3, 0.2, 0.2, 0.1]), make_feature=lambda: torch.zeros(2, 32, 16, 24))
    wrapper.base.predict = lambda _: base  # type: ignore[method-assign]
    fix_logits(wrapper, 0, everywhere([0.1, 0.2, 0.7]))
    fix_logits(wrapper, 1, everywhere([0.8, 0.1, 0.1]))
    prediction = wrapper.predict(make_inputs())
    torch.testing.assert_close(prediction.logits.softmax(1)[1, :, 3, 4], torch.tensor(expected))
    # The base head predicts car, the wrapper truck.
    assert base.logits.argmax(1).unique() == 1 and prediction.logits.argmax(1).unique() == 2
    assert torch.equal(wrapper.logit_maps(prediction)["ungrouped"], base.logits)


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("rule", ["sum", "product"])
def test_logits_are_upsampled_to_the_stride_and_then_joined(rule: str, stride: int) -> None:
    wrapper = build(rule=rule, others="copy", stride=stride).eval()
    size = (64 // stride, 96 // stride)

    def softmax(logits: Tensor) -> Tensor:
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False).softmax(1)

    with torch.no_grad():
        prediction = wrapper.predict(make_inputs())
        factors = [softmax(prediction.base.logits)]
        for number, group in enumerate(GROUPS, 1):
            others, *members = softmax(prediction.auxiliary[f"group_{number}"]).split(1, 1)
            factor = others.repeat(1, len(NAMES), 1, 1)
            factor[:, group] = torch.cat(members, 1)
            factors.append(factor / factor.sum(1, keepdim=True))
    expected = sum(factors) if rule == "sum" else factors[0] * factors[1] * factors[2]
    expected = expected / expected.sum(1, keepdim=True)
    torch.testing.assert_close(prediction.logits.softmax(1), expected)


def test_default_is_the_product_at_the_base_heads_stride() -> None:
    wrapper = build().eval()
    with torch.no_grad():
        prediction = wrapper.predict(make_inputs())
    assert wrapper.common_stride == 4
    base = prediction.base.logits.log_softmax(1)
    members = [(prediction.auxiliary[f"group_{number}"], group) for number, group in enumerate(GROUPS, 1)]
    torch.testing.assert_close(prediction.logits, join_members(base, members, "product"))


def test_sum_at_a_coarse_stride_moves_borders() -> None:
    """Why the product is the default at the base head's stride; see `join`.

    Of two classes in two cells, 4 pixels apart, the base head has a margin of +9 in the first and of -3 in the second.
    Interpolated between their centers the border is 9 / 12 of the way, 3 pixels. A classifier without information
    gives 1/2, 1/2. The mean with it has the margins log((1/2 + p) / (1/2 + 1 - p)) with p = sigmoid(9), sigmoid(-3),
    which are 1.098 and -0.972, so the border is 0.53 of the way if these are interpolated: 2.1 pixels. Pixel by pixel
    the mean changes no winner.
    """
    margins = torch.tensor([9.0, -3.0])
    coarse = torch.stack([margins, torch.zeros(2)]).view(1, 2, 1, 2)
    uniform = torch.zeros(1, 2, 1, 2).log_softmax(1)

    def find_border(logits: Tensor) -> float:
        """Return the pixels from the first center to the change of sign; 400 steps between the two."""
        margin = logits[0, 0, 0] - logits[0, 1, 0]
        return 4 * int((margin > 0).sum()) / len(margin)

    def refine(logits: Tensor) -> Tensor:
        return F.interpolate(logits, size=(1, 400), mode="bilinear", align_corners=True)

    assert find_border(refine(coarse)) == pytest.approx(3, abs=0.02)
    assert find_border(refine(join([coarse.log_softmax(1), uniform], "sum"))) == pytest.approx(2.12, abs=0.02)
    assert find_border(join([refine(coarse).log_softmax(1), refine(uniform)], "sum")) == pytest.approx(3, abs=0.02)
    assert find_border(refine(join([coarse.log_softmax(1), uniform], "product"))) == pytest.approx(3, abs=0.02)
    # A group of both classes, without "others".
    member = torch.tensor([-99.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 1, 2), [0, 1]
    for rule, expected in (("sum", 2.12), ("product", 3)):
        joint = join_members(coarse.log_softmax(1), [member], rule)
        assert find_border(refine(joint)) == pytest.approx(expected, abs=0.02)


def test_subnet_losses_are_cross_entropies_of_group_labels() -> None:
    wrapper, labels = build(), make_targets()
    prediction = wrapper.predict(make_inputs())
    losses = wrapper.losses(prediction, labels)
    assert losses.keys() == {"loss_sem_seg", "loss_group_1", "loss_group_2"}
    for number, group in enumerate(GROUPS, 1):
        group_labels = torch.zeros_like(labels)
        for channel, label in enumerate(group, 1):
            group_labels[labels == label] = channel
        group_labels[labels == IGNORE] = IGNORE
        logits = F.interpolate(prediction.auxiliary[f"group_{number}"], labels.shape[-2:], mode="bilinear")
        assert logits.shape[1] == 3
        expected = F.cross_entropy(logits, group_labels, ignore_index=IGNORE)
        torch.testing.assert_close(losses[f"loss_group_{number}"], expected)


def test_subnets_do_not_train_the_base_head_or_each_other() -> None:
    wrapper = build()
    losses = wrapper.losses(wrapper.predict(make_inputs()), make_targets())
    losses["loss_group_1"].backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in wrapper.base.parameters())
    assert all(parameter.grad is None for parameter in wrapper.subnets[1].parameters())
    assert all(parameter.grad.any() for parameter in wrapper.subnets[0].parameters())
    losses["loss_sem_seg"].backward()
    assert all(parameter.grad is not None for parameter in wrapper.base.parameters())
    assert all(parameter.grad is None for parameter in wrapper.subnets[1].parameters())


@pytest.mark.parametrize("convs", [0, 2])
def test_subnets_have_the_configured_width_and_depth(convs: int) -> None:
    wrapper = build(convs=convs)
    shapes = [tuple(m.weight.shape) for m in wrapper.subnets[0].modules() if isinstance(m, torch.nn.Conv2d)]
    assert shapes == [(8, wrapper.feature_channels, 1, 1), *[(8, 8, 3, 3)] * convs, (3, 8, 1, 1)]


def test_feature_is_that_of_the_base_head() -> None:
    prediction = build().predict(make_inputs())
    assert torch.equal(prediction.feature, prediction.base.feature)


def test_losses_of_half_precision_are_computed_in_float32() -> None:
    subnet, labels = build().subnets[0], make_targets()
    logits = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)).bfloat16()
    loss = subnet.loss(logits, labels, IGNORE)
    assert loss.dtype == torch.float32 and torch.equal(loss, subnet.loss(logits.float(), labels, IGNORE))


def test_frozen_parts_have_no_loss() -> None:
    wrapper, labels = build(), make_targets()
    wrapper.base.requires_grad_(False)
    assert wrapper.losses(wrapper.predict(make_inputs()), labels).keys() == {"loss_group_1", "loss_group_2"}
    wrapper.subnets[0].requires_grad_(False)
    assert wrapper.losses(wrapper.predict(make_inputs()), labels).keys() == {"loss_group_2"}
    with torch.no_grad():  # evaluation measures all losses
        assert len(wrapper.losses(wrapper.predict(make_inputs()), labels)) == 3


def test_subnet_losses_are_weighted_by_the_groups_confusion() -> None:
    confusion = torch.tensor(
        [
            [10.0, 2, 0, 1, 1],
            [1, 8, 4, 0, 2],
            [0, 3, 6, 1, 0],
            [1, 0, 1, 9, 5],
            [2, 0, 0, 8, 4],
        ]
    )
    wrapper, labels = build(confusion=confusion, wrong_weight=2.0), make_targets()
    prediction = wrapper.predict(make_inputs())
    # Others are road, person and rider: their rows and columns are added up.
    others = [0, 3, 4]
    group_confusion = torch.tensor(
        [
            [confusion[others][:, others].sum(), confusion[others, 1].sum(), confusion[others, 2].sum()],
            [confusion[1, others].sum(), 8, 4],
            [confusion[2, others].sum(), 3, 6],
        ]
    )
    channels = torch.tensor([0, 1, 2, 0, 0] + [IGNORE] * (IGNORE - CLASSES + 1))
    logits = F.interpolate(prediction.auxiliary["group_1"], labels.shape[-2:], mode="bilinear")
    expected = confusion_weighted_loss(logits, channels[labels], normalize_rows(group_confusion), IGNORE, 2.0)
    torch.testing.assert_close(wrapper.losses(prediction, labels)["loss_group_1"], expected)


def test_groups_may_share_a_class() -> None:
    wrapper = build(groups=[[1, 2], [2, 3]])
    losses = wrapper.losses(wrapper.predict(make_inputs()), make_targets())
    assert {"loss_group_1", "loss_group_2"} <= losses.keys()


def test_base_head_without_a_feature_is_refused() -> None:
    class Bare(SemanticHead):
        def predict(self, inputs: HeadInputs) -> SemanticPrediction:
            return SemanticPrediction(inputs.features["p2"][:, :CLASSES])

    with pytest.raises(ValueError, match=r"CONFUSION_GROUPS\.BASE: Bare has no feature"):
        build(Bare(num_classes=CLASSES, ignore_value=IGNORE, common_stride=4))


@pytest.fixture
def config(tiny_config: CfgNode) -> CfgNode:
    cfg = wrap(tiny_config, "ConfusionGroupHead", "ASPRefinementHead")
    node = cfg.MODEL.SEM_SEG_HEAD
    node.CLASS_NAMES = NAMES
    node.CONFUSION_GROUPS.GROUPS, node.CONFUSION_GROUPS.DIM = [["car", "truck"], ["rider", "person"]], 16
    return cfg


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("GROUPS", [], r"GROUPS: is empty; `unified-seg groups`"),
        ("GROUPS", None, r"GROUPS: is empty"),
        ("GROUPS", [["car", "road"], ["rider"], ["road", "car"]], r"GROUPS: two groups have the same classes"),
        ("GROUPS", [["car"], []], r"group 2: expected at least one class"),
        ("GROUPS", [["car", "tram"]], r"GROUPS: unknown class 'tram'; the classes are road, car, truck, person"),
        ("GROUPS", [["car", "car"]], r"group 1: a class is repeated"),
        ("GROUPS", [NAMES], r"group 1: expected fewer classes than all"),
        ("GROUPS", ["car"], r"GROUPS: .* list of class names, got 'car'"),
        ("GROUPS", [["road"], 1], r"GROUPS: .* list of class names, got 1"),
        ("RULE", "max", r"RULE must be one of sum, product, got 'max'"),
        ("OTHERS", "share", r"OTHERS must be one of abstain, copy, got 'share'"),
        ("STRIDE", 3, r"STRIDE: must divide .* 4, got 3"),
        ("STRIDE", 8, r"STRIDE: must divide .* 4, got 8"),
        ("DIM", 0, r"DIM: must be 1 or more, got 0"),
        ("CONVS", -1, r"CONVS: must be 0 or more, got -1"),
        ("NORM", "XN", r"group 1: .*'XN'"),
    ],
)
def test_invalid_values_are_refused(config: CfgNode, key: str, value: object, message: str) -> None:
    config.MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS[key] = value
    with pytest.raises(ValueError, match=rf"MODEL\.SEM_SEG_HEAD\.CONFUSION_GROUPS.*{message}"):
        build_semantic_head(config, SHAPES)


def test_name_of_two_classes_is_refused_in_a_group(config: CfgNode) -> None:
    node = config.MODEL.SEM_SEG_HEAD
    node.CLASS_NAMES = ["road", "car", "truck", "person", "car"]
    node.CONFUSION_GROUPS.GROUPS = [["truck", "person"]]
    assert build_semantic_head(config, SHAPES).subnets[0].channels.tolist() == [0, 0, 1, 2, 0]
    node.CONFUSION_GROUPS.GROUPS = [["truck", "car"]]
    with pytest.raises(ValueError, match=r"CONFUSION_GROUPS\.GROUPS: 'car' is the name of several classes"):
        build_semantic_head(config, SHAPES)


def test_weights_of_other_groups_are_refused() -> None:
    """Their shapes are the same, but the channels are other classes."""
    state = build().state_dict()
    build().load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"subnets\.1\.channels: .*CONFUSION_GROUPS\.GROUPS"):
        build(groups=[[1, 2], [4, 3]]).load_state_dict(state)
    with pytest.raises(CheckpointError, match=r"old\.pth: .*subnets\.0\.channels: .*CONFUSION_GROUPS\.GROUPS"):
        Checkpointer(build(groups=[[2, 1], [3, 4]])).load_weights(state, "old.pth")
