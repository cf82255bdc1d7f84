"""Subnets for groups of confused classes around each head."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from inner_heads import BASES, CLASSES, IGNORE, SHAPES, asp, features, targets, wrap
from torch import Tensor
from torch.nn import functional as F

from unified_seg.checkpoint import Checkpointer, CheckpointError
from unified_seg.heads import (
    ConfusionGroupHead,
    ErrorCorrectionHead,
    SemanticHead,
    SemanticPrediction,
    build_semantic_head,
)
from unified_seg.heads.confusion_groups.groups import join, join_members
from unified_seg.heads.confusion_groups.weighted_cross_entropy import confusion_weighted_loss, normalize_rows

NAMES = ["road", "car", "truck", "person", "rider"]
GROUPS = [[1, 2], [3, 4]]
WRONG_WEIGHT = "CONFUSION_LOSS: the weight of wrong classes must be finite and 0 or more"


def head(base: SemanticHead | None = None, **options: Any) -> ConfusionGroupHead:
    torch.manual_seed(0)
    return ConfusionGroupHead(base or asp(), SHAPES, **{"groups": GROUPS, "dim": 8, **options})


def says(wrapper: ConfusionGroupHead, number: int, logits: Tensor) -> None:
    """Make a subnet say this, whatever it sees."""
    wrapper.subnets[number].forward = lambda _: logits  # type: ignore[method-assign]


def share_of(*numbers: float) -> list[float]:
    return [number / sum(numbers) for number in numbers]


def mean_of(*answers: Sequence[float]) -> list[float]:
    """Each brought to a sum of 1."""
    return [sum(shares) / len(answers) for shares in zip(*(share_of(*answer) for answer in answers))]


@pytest.mark.parametrize(
    ("others", "rule", "expected"),
    # The base says 0.2, 0.3, 0.2, 0.2, 0.1. The subnet of car and truck: others 0.1, car 0.2, truck 0.7; to all classes
    # (0.1, 0.2, 0.7, 0.1, 0.1) / 1.2. That of person and rider: others 0.8, 0.1, 0.1; (8, 8, 8, 1, 1) / 26.
    [
        ("copy", "sum", mean_of((2, 3, 2, 2, 1), (1, 2, 7, 1, 1), (8, 8, 8, 1, 1))),
        # Products of the numerators: 2 * 1 * 8 = 16, 3 * 2 * 8 = 48, 2 * 7 * 8 = 112, 2, 1; their sum is 179.
        ("copy", "product", [16 / 179, 48 / 179, 112 / 179, 2 / 179, 1 / 179]),
        # Each with the subnet that knows it; road alone: 0.2, (0.3 + 0.2) / 2, (0.2 + 0.7) / 2, (0.2 + 0.1) / 2, 0.1.
        ("abstain", "sum", [x / 1.15 for x in (0.2, 0.25, 0.45, 0.15, 0.1)]),
        ("abstain", "product", share_of(0.2, 0.06**0.5, 0.14**0.5, 0.02**0.5, 0.1)),
    ],
)
def test_the_answers_are_joined(others: str, rule: str, expected: list[float]) -> None:
    wrapper = head(rule=rule, others=others).eval()

    def everywhere(probabilities: list[float]) -> Tensor:
        return torch.tensor(probabilities).log().view(1, -1, 1, 1).expand(2, -1, 16, 24)

    inside = SemanticPrediction(everywhere([0.2, 0.3, 0.2, 0.2, 0.1]), make_feature=lambda: torch.zeros(2, 32, 16, 24))
    wrapper.base.predict = lambda _: inside  # type: ignore[method-assign]
    says(wrapper, 0, everywhere([0.1, 0.2, 0.7]))
    says(wrapper, 1, everywhere([0.8, 0.1, 0.1]))
    said = wrapper.predict({})
    torch.testing.assert_close(said.logits.softmax(1)[1, :, 3, 4], torch.tensor(expected))
    # By itself the head inside says car; the subnet knows that it is a truck.
    assert inside.logits.argmax(1).unique() == 1 and said.logits.argmax(1).unique() == 2
    assert torch.equal(wrapper.logit_maps(said)["ungrouped"], inside.logits)


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("rule", ["sum", "product"])
def test_logits_are_brought_to_the_stride_before_they_are_joined(rule: str, stride: int) -> None:
    wrapper = head(rule=rule, others="copy", stride=stride).eval()
    with torch.no_grad():
        said = wrapper.predict(features())
        assert said.base is not None
        size = (64 // stride, 96 // stride)

        def softmax(logits: Tensor) -> Tensor:
            return F.interpolate(logits, size=size, mode="bilinear", align_corners=False).softmax(1)

        answers = [softmax(said.base.logits)]
        for number, group in enumerate(GROUPS, 1):
            others, *inside = softmax(said.auxiliary[f"group_{number}"]).split(1, 1)
            answer = others.repeat(1, len(NAMES), 1, 1)
            answer[:, group] = torch.cat(inside, 1)
            answers.append(answer / answer.sum(1, keepdim=True))
    expected = sum(answers) if rule == "sum" else answers[0] * answers[1] * answers[2]
    expected = expected / expected.sum(1, keepdim=True)
    torch.testing.assert_close(said.logits.softmax(1), expected)


def test_the_defaults_join_at_the_stride_of_the_head_inside() -> None:
    wrapper = head().eval()
    with torch.no_grad():
        said = wrapper.predict(features())
    assert wrapper.common_stride == 4
    base = said.base.logits.log_softmax(1)
    answers = [(said.auxiliary[f"group_{number}"], group) for number, group in enumerate(GROUPS, 1)]
    torch.testing.assert_close(said.logits, join_members(base, answers, "product"))


def test_a_coarse_sum_moves_borders() -> None:
    """Why the product is the rule at the stride of the head inside; see `join`.

    Of two classes in two cells, 4 pixels apart, the head inside has a margin of +9 in the first and of -3 in the
    second. Interpolated between their centers the border is 9 / 12 of the way, 3 pixels. A classifier that knows
    nothing says 1/2, 1/2. The mean with it has the margins log((1/2 + p) / (1/2 + 1 - p)) with p = sigmoid(9),
    sigmoid(-3), which are 1.098 and -0.972, so the border is 0.53 of the way if these are interpolated: 2.1 pixels.
    Pixel by pixel the mean changes no winner.
    """
    margins = torch.tensor([9.0, -3.0])
    coarse = torch.stack([margins, torch.zeros(2)]).view(1, 2, 1, 2)
    nothing = torch.zeros(1, 2, 1, 2).log_softmax(1)

    def border(logits: Tensor) -> float:
        """Pixels from the first center to where the margin changes its sign; 400 steps between the two."""
        margin = logits[0, 0, 0] - logits[0, 1, 0]
        return 4 * int((margin > 0).sum()) / len(margin)

    def finer(logits: Tensor) -> Tensor:
        return F.interpolate(logits, size=(1, 400), mode="bilinear", align_corners=True)

    assert border(finer(coarse)) == pytest.approx(3, abs=0.02)
    assert border(finer(join([coarse.log_softmax(1), nothing], "sum"))) == pytest.approx(2.12, abs=0.02)
    assert border(join([finer(coarse).log_softmax(1), finer(nothing)], "sum")) == pytest.approx(3, abs=0.02)
    assert border(finer(join([coarse.log_softmax(1), nothing], "product"))) == pytest.approx(3, abs=0.02)
    # One of a group of both, who also knows that it is one of them.
    member = torch.tensor([-99.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 1, 2), [0, 1]
    for rule, expected in (("sum", 2.12), ("product", 3)):
        joint = join_members(coarse.log_softmax(1), [member], rule)
        assert border(finer(joint)) == pytest.approx(expected, abs=0.02)


def test_each_subnet_learns_its_own_question() -> None:
    wrapper, labels = head(), targets()
    said = wrapper.predict(features())
    losses = wrapper.losses(said, labels)
    assert losses.keys() == {"loss_sem_seg", "loss_group_1", "loss_group_2"}
    for number, group in enumerate(GROUPS, 1):
        wanted = torch.zeros_like(labels)
        for channel, label in enumerate(group, 1):
            wanted[labels == label] = channel
        wanted[labels == IGNORE] = IGNORE
        logits = F.interpolate(said.auxiliary[f"group_{number}"], labels.shape[-2:], mode="bilinear")
        assert logits.shape[1] == 3
        expected = F.cross_entropy(logits, wanted, ignore_index=IGNORE)
        torch.testing.assert_close(losses[f"loss_group_{number}"], expected)


def test_the_subnets_change_neither_the_head_inside_nor_each_other() -> None:
    wrapper = head()
    losses = wrapper.losses(wrapper.predict(features()), targets())
    losses["loss_group_1"].backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in wrapper.base.parameters())
    assert all(parameter.grad is None for parameter in wrapper.subnets[1].parameters())
    assert all(parameter.grad.any() for parameter in wrapper.subnets[0].parameters())
    losses["loss_sem_seg"].backward()
    assert all(parameter.grad is not None for parameter in wrapper.base.parameters())
    assert all(parameter.grad is None for parameter in wrapper.subnets[1].parameters())


def test_a_subnet_is_as_wide_and_as_deep_as_it_should_be() -> None:
    def convolutions(wrapper: ConfusionGroupHead) -> list[tuple[int, ...]]:
        return [tuple(m.weight.shape) for m in wrapper.subnets[0].modules() if isinstance(m, torch.nn.Conv2d)]

    feature = head().predict(features()).feature
    assert feature is not None
    first, last = (8, feature.shape[1], 1, 1), (3, 8, 1, 1)
    assert convolutions(head()) == [first, (8, 8, 3, 3), (8, 8, 3, 3), last]
    assert convolutions(head(convs=0)) == [first, last]


def test_the_feature_is_that_of_the_head_inside() -> None:
    """What another wrapper looks at."""
    said = head().predict(features())
    assert said.base is not None and torch.equal(said.feature, said.base.feature)


def test_logits_of_half_precision_are_enlarged_in_float32() -> None:
    wrapper, labels = head(), targets()
    logits = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)).bfloat16()
    loss = wrapper.subnets[0].loss(logits, labels, IGNORE)
    assert loss.dtype == torch.float32 and torch.equal(loss, wrapper.subnets[0].loss(logits.float(), labels, IGNORE))


def test_what_is_frozen_has_no_loss() -> None:
    wrapper, labels = head(), targets()
    wrapper.base.requires_grad_(False)
    assert wrapper.losses(wrapper.predict(features()), labels).keys() == {"loss_group_1", "loss_group_2"}
    wrapper.subnets[0].requires_grad_(False)
    assert wrapper.losses(wrapper.predict(features()), labels).keys() == {"loss_group_2"}
    with torch.no_grad():  # then all losses are of interest
        assert len(wrapper.losses(wrapper.predict(features()), labels)) == 3


def test_subnets_can_learn_by_the_confusion_of_their_group() -> None:
    confusion = torch.tensor(
        [
            [10.0, 2, 0, 1, 1],
            [1, 8, 4, 0, 2],
            [0, 3, 6, 1, 0],
            [1, 0, 1, 9, 5],
            [2, 0, 0, 8, 4],
        ]
    )
    wrapper, labels = head(confusion=confusion, wrong_weight=2.0), targets()
    said = wrapper.predict(features())
    # Others are road, person and rider: their rows and columns are added up.
    others = [0, 3, 4]
    of_group = torch.tensor(
        [
            [confusion[others][:, others].sum(), confusion[others, 1].sum(), confusion[others, 2].sum()],
            [confusion[1, others].sum(), 8, 4],
            [confusion[2, others].sum(), 3, 6],
        ]
    )
    channels = torch.tensor([0, 1, 2, 0, 0] + [IGNORE] * (IGNORE - CLASSES + 1))
    logits = F.interpolate(said.auxiliary["group_1"], labels.shape[-2:], mode="bilinear")
    expected = confusion_weighted_loss(logits, channels[labels], normalize_rows(of_group), IGNORE, 2.0)
    torch.testing.assert_close(wrapper.losses(said, labels)["loss_group_1"], expected)


def test_a_class_may_be_in_two_groups() -> None:
    wrapper = head(groups=[[1, 2], [2, 3]])
    losses = wrapper.losses(wrapper.predict(features()), targets())
    assert {"loss_group_1", "loss_group_2"} <= losses.keys()


def config(cfg: CfgNode, base: str) -> CfgNode:
    node = wrap(cfg, "ConfusionGroupHead", base).MODEL.SEM_SEG_HEAD
    node.CLASS_NAMES = NAMES
    node.CONFUSION_GROUPS.GROUPS = [["car", "truck"], ["rider", "person"]]
    node.CONFUSION_GROUPS.DIM = 16
    return cfg


@pytest.mark.parametrize("base", BASES)
def test_every_head_can_be_inside(base: str, tiny_config: CfgNode) -> None:
    shapes = {name: ShapeSpec(channels=8, stride=shape.stride) for name, shape in SHAPES.items()}
    cfg = config(tiny_config, base)
    wrapper = build_semantic_head(cfg, shapes)
    cfg.MODEL.SEM_SEG_HEAD.NAME = base
    alone = build_semantic_head(cfg, shapes)
    assert isinstance(wrapper, ConfusionGroupHead)
    # Its weights are a part of the wrapper's, by the same names.
    loaded = wrapper.load_state_dict(alone.state_dict(), strict=False)
    assert loaded.unexpected_keys == [] and all(name.startswith("subnets.") for name in loaded.missing_keys)
    seen = features() | {"valid": torch.ones(2, 1, 64, 96, dtype=torch.bool)}
    with torch.no_grad():
        said = wrapper.eval().predict(seen)
        assert said.base is not None
        torch.testing.assert_close(said.base.logits, alone.eval().predict(seen).logits, rtol=0, atol=0)
    assert said.logits.shape == said.base.logits.shape
    losses = wrapper.train().losses(wrapper.predict(seen), targets())
    assert {"loss_sem_seg", "loss_group_1", "loss_group_2"} <= losses.keys()
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in wrapper.subnets.parameters())


@pytest.mark.parametrize("base", [*BASES, "ConfusionGroupHead", "ErrorCorrectionHead"])
def test_every_head_can_learn_by_a_confusion_matrix(base: str, tiny_config: CfgNode, tmp_path: Path) -> None:
    """With the identity and lambda 0 as by cross-entropy; with another matrix the head's own loss is another."""
    cfg = wrap(config(tiny_config, "SemSegFPNHead"), "ErrorCorrectionHead", "SemSegFPNHead")
    cfg = config(cfg, base) if base in BASES else cfg
    node = cfg.MODEL.SEM_SEG_HEAD
    node.NAME, node.ERROR_CORRECTION.DETAIL_FEATURES = base, ["p4", "p3", "p2"]
    node.LOSS_TYPE = "cross_entropy"  # of DeepLabV3PlusHead, whose default is mining of hard pixels
    mixed = np.arange(1.0, 26).reshape(5, 5)
    for name, matrix in (("identity", np.eye(CLASSES)), ("mixed", mixed)):
        np.savez(tmp_path / f"{name}.npz", confusion=matrix, class_names=NAMES)

    def losses(matrix: str, weight: float) -> dict[str, float]:
        node.CONFUSION_LOSS.MATRIX, node.CONFUSION_LOSS.LAMBDA = matrix, weight
        torch.manual_seed(0)
        built = build_semantic_head(cfg, SHAPES).eval()
        seen = features() | {"valid": torch.ones(2, 1, 64, 96, dtype=torch.bool)}
        return {name: loss.item() for name, loss in built.losses(built.predict(seen), targets()).items()}

    plain = losses("", 5.0)
    assert losses(str(tmp_path / "identity.npz"), 0.0) == pytest.approx(plain, rel=1e-5)
    weighted = losses(str(tmp_path / "mixed.npz"), 5.0)
    changed = {name for name in plain if weighted[name] != pytest.approx(plain[name], rel=1e-3)}
    lower = losses(str(tmp_path / "mixed.npz"), 2.0)
    assert all(lower[name] != pytest.approx(weighted[name], rel=1e-3) for name in changed)
    own = {"loss_sem_seg"}
    assert changed == (own | {"loss_group_1", "loss_group_2"} if base == "ConfusionGroupHead" else own)


def test_wrappers_nest(tiny_config: CfgNode) -> None:
    """Error correction around confusion groups around pyramid pooling; the weights of each fit into the next."""
    cfg = config(tiny_config, "PSPHead")
    node = cfg.MODEL.SEM_SEG_HEAD
    grouped = build_semantic_head(cfg, SHAPES)
    node.NAME, node.ERROR_CORRECTION.BASE = "ErrorCorrectionHead", "ConfusionGroupHead"
    node.ERROR_CORRECTION.DETAIL_FEATURES = ["p4", "p3", "p2"]
    corrected = build_semantic_head(cfg, SHAPES)
    assert (grouped.common_stride, corrected.base.common_stride) == (4, 4)
    assert isinstance(corrected, ErrorCorrectionHead) and isinstance(corrected.base, ConfusionGroupHead)
    assert corrected.training_order() == ["base.base", "base.subnets", "error_branch", "detail_branch"]
    loaded = corrected.load_state_dict(grouped.state_dict(), strict=False)
    assert loaded.unexpected_keys == []
    assert all(name.startswith(("error_branch.", "detail_branch.")) for name in loaded.missing_keys)
    with torch.no_grad():
        said = corrected.eval().predict(features())
        torch.testing.assert_close(said.base.logits, grouped.eval().predict(features()).logits, rtol=0, atol=0)
    assert corrected.logit_maps(said).keys() == {"ungrouped", "uncorrected", "error", "error_unbalanced"}
    losses = corrected.train().losses(corrected.predict(features()), targets())
    groups = {"loss_group_1", "loss_group_2"}
    assert losses.keys() == {"loss_sem_seg", "loss_sem_seg_auxiliary", *groups, "loss_error", "loss_detail"}
    # And the other way round.
    node.NAME, node.ERROR_CORRECTION.BASE, node.CONFUSION_GROUPS.BASE = (
        "ConfusionGroupHead",
        "PSPHead",
        "ErrorCorrectionHead",
    )
    around = build_semantic_head(cfg, SHAPES)
    assert around.training_order() == ["base.base", "base.error_branch", "base.detail_branch", "subnets"]
    assert around.needs_image and around.predict(features()).logits.isfinite().all()


def test_a_head_without_a_feature_is_refused() -> None:
    class Bare(SemanticHead):
        def predict(self, features: dict[str, Tensor]) -> SemanticPrediction:
            return SemanticPrediction(features["p2"][:, :CLASSES])

    with pytest.raises(ValueError, match=r"CONFUSION_GROUPS\.BASE: the head inside gives no feature"):
        head(Bare(num_classes=CLASSES, ignore_value=IGNORE, common_stride=4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"BASE": ""}, r"CONFUSION_GROUPS\.BASE is empty: name the head that ConfusionGroupHead is put around"),
        ({"BASE": "Foo"}, r"CONFUSION_GROUPS\.BASE: there is no semantic head 'Foo'; known: ASPRefinementHead, "),
        ({"BASE": "ConfusionGroupHead"}, r"BASE: ConfusionGroupHead would be put around itself"),
        ({"GROUPS": []}, r"GROUPS: there is no group; tools/confusion_groups\.py proposes some"),
        ({"GROUPS": None}, r"GROUPS: there is no group"),
        ({"GROUPS": [["car", "road"], ["rider"], ["road", "car"]]}, r"GROUPS: two groups are of the same classes"),
        ({"GROUPS": [["car"], []]}, r"CONFUSION_GROUPS: group 2: a group is empty"),
        ({"GROUPS": [["car", "tram"]]}, r"GROUPS: there is no class 'tram'; the classes are road, car, truck, person"),
        ({"GROUPS": [["car", "car"]]}, r"CONFUSION_GROUPS: group 1: a class is twice in a group"),
        ({"GROUPS": [NAMES]}, r"CONFUSION_GROUPS: group 1: a group holds every class"),
        ({"GROUPS": ["car"]}, r"GROUPS: a group is a list of class names, not 'car'"),
        ({"GROUPS": [["road"], 1]}, r"GROUPS: a group is a list of class names, not 1"),
        ({"RULE": "max"}, r"RULE: 'max' is not one of sum, product"),
        ({"OTHERS": "share"}, r"OTHERS: 'share' is not one of abstain, copy"),
        ({"STRIDE": 3}, r"STRIDE: the head inside has stride 4, no multiple of 3"),
        ({"STRIDE": 8}, r"STRIDE: the head inside has stride 4, no multiple of 8"),
        ({"DIM": 0}, r"DIM: must be 1 or more, got 0"),
        ({"CONVS": -1}, r"CONVS: must be 0 or more, got -1"),
        ({"NORM": "XN"}, r"CONFUSION_GROUPS: group 1: unknown norm 'XN'"),
    ],
)
def test_bad_input(tiny_config: CfgNode, changes: dict[str, Any], message: str) -> None:
    cfg = config(tiny_config, "ASPRefinementHead")
    for key, value in changes.items():
        cfg.MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS[key] = value
    with pytest.raises(ValueError, match=message):
        build_semantic_head(cfg, SHAPES)


def test_a_name_of_two_classes_names_neither(tiny_config: CfgNode) -> None:
    cfg = config(tiny_config, "ASPRefinementHead")
    cfg.MODEL.SEM_SEG_HEAD.CLASS_NAMES = ["road", "car", "truck", "person", "car"]
    cfg.MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS.GROUPS = [["truck", "person"]]
    assert build_semantic_head(cfg, SHAPES).subnets[0].channels.tolist() == [0, 0, 1, 2, 0]
    cfg.MODEL.SEM_SEG_HEAD.CONFUSION_GROUPS.GROUPS = [["truck", "car"]]
    with pytest.raises(ValueError, match=r"CONFUSION_GROUPS\.GROUPS: 'car' is the name of several classes"):
        build_semantic_head(cfg, SHAPES)


@pytest.mark.parametrize(
    ("names", "matrix", "weight", "message"),
    [
        (
            NAMES,
            np.eye(4),
            5.0,
            r"CONFUSION_LOSS\.MATRIX: .*m\.npz: confusion must hold.* 5 classes, .*\(4, 4\)",
        ),
        (NAMES[::-1], np.eye(5), 5.0, r"MATRIX: .*m\.npz.*number 0 is 'rider' there and 'road' in the data set"),
        (NAMES[:4], np.eye(4), 5.0, r"MATRIX: .*m\.npz.*it has 4, the data set 5"),
        (NAMES, np.full((5, 5), np.nan), 5.0, r"CONFUSION_LOSS\.MATRIX: .*m\.npz: .*no pixel"),
        (NAMES, -np.eye(5), 5.0, r"CONFUSION_LOSS\.MATRIX: .*m\.npz: .*finite, 0 or more"),
        (NAMES, np.eye(5), float("nan"), f"{WRONG_WEIGHT}, got nan"),
        (NAMES, np.eye(5), float("inf"), f"{WRONG_WEIGHT}, got inf"),
        (NAMES, np.eye(5), -1.0, f"{WRONG_WEIGHT}, got -1"),
    ],
)
def test_bad_matrices(
    tiny_config: CfgNode, tmp_path: Path, names: list[str], matrix: np.ndarray, weight: float, message: str
) -> None:
    cfg = config(tiny_config, "ASPRefinementHead")
    np.savez(tmp_path / "m.npz", confusion=matrix, class_names=names)
    cfg.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX = str(tmp_path / "m.npz")
    cfg.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.LAMBDA = weight
    with pytest.raises(ValueError, match=message):
        build_semantic_head(cfg, SHAPES)


def test_a_class_never_found_is_named(tiny_config: CfgNode, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No term of the loss pulls it up."""
    cfg = config(tiny_config, "ASPRefinementHead")
    matrix = np.ones((5, 5))
    matrix[1, 1] = matrix[4, 4] = 0
    cfg.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX = str(tmp_path / "m.npz")
    np.savez(tmp_path / "m.npz", confusion=matrix, class_names=NAMES)
    build_semantic_head(cfg, SHAPES)
    (message,) = (record.getMessage() for record in caplog.records if "m.npz" in record.getMessage())
    assert "no pixel of car, rider was found" in message


def test_a_class_never_seen_weighs_as_in_cross_entropy(tiny_config: CfgNode, tmp_path: Path) -> None:
    """A row of zeros or NaN is one of the identity."""
    cfg = config(tiny_config, "ASPRefinementHead")
    file = tmp_path / "m.npz"
    cfg.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX = str(file)
    for row in (0.0, np.nan):
        matrix = np.ones((5, 5))
        matrix[2] = row
        np.savez(file, confusion=matrix, class_names=NAMES)
        wrapper = build_semantic_head(cfg, SHAPES)
        weights = wrapper.base.pixel_loss.weights
        assert weights[2].tolist() == [0, 0, 1, 0, 0] and weights[1, 0] == pytest.approx(0.2)
        of_group = wrapper.subnets[0].pixel_loss.weights  # others, car, truck
        assert of_group[2].tolist() == [0, 0, 1] and of_group[1].tolist() == pytest.approx([3 / 5, 1 / 5, 1 / 5])
        assert not any("pixel_loss" in name for name in wrapper.state_dict())


def test_weights_of_other_groups_are_refused() -> None:
    """They have the same shapes, and would name other classes."""
    wrapper = head()
    wrapper.load_state_dict(head().state_dict())
    with pytest.raises(RuntimeError, match=r"subnets\.1\.channels: these weights are of a group of other classes"):
        head(groups=[[1, 2], [4, 3]]).load_state_dict(wrapper.state_dict())
    with pytest.raises(CheckpointError, match=r"old\.pth: .*subnets\.0\.channels: these weights are of a group"):
        Checkpointer(head(groups=[[2, 1], [3, 4]])).load_weights(wrapper.state_dict(), "old.pth")
    plain = {name: value for name, value in wrapper.state_dict().items() if not name.startswith("subnets.")}
    assert all(name.startswith("subnets.") for name in head().load_state_dict(plain, strict=False).missing_keys)
