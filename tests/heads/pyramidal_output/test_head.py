from typing import Any

import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import Tensor
from torch.nn import functional as F

from unified_seg.config import get_config
from unified_seg.heads import HeadInputs, HeadOptions, PyramidalOutputHead, build_semantic_head
from unified_seg.heads.pyramidal_output.label_pyramid import (
    POLICIES,
    assign_levels,
    build_label_pyramid,
    fuse_pyramid,
    relabel,
)

CLASSES, IGNORE = 4, 255
STRIDES = (32, 16, 8, 4)
SHAPES = {f"p{i}": ShapeSpec(channels=16, stride=2**i) for i in (2, 3, 4, 5)}


def build(**options: Any) -> PyramidalOutputHead:
    torch.manual_seed(0)
    common = {"num_classes": CLASSES, "conv_dim": 32, "norm": ""}
    common |= {name: options.pop(name) for name in ("num_classes", "loss_weight", "norm") & options.keys()}
    return PyramidalOutputHead(HeadOptions(SHAPES, **common), **{"unity_dim": 16, **options})


def make_inputs(valid: Tensor | None = None) -> HeadInputs:
    generator = torch.Generator().manual_seed(1)
    features = {f"p{i}": torch.randn(2, 16, 64 >> i, 96 >> i, generator=generator) for i in (2, 3, 4, 5)}
    return HeadInputs(features, valid=valid)


def targets_of(size: tuple[int, int] = (64, 96)) -> Tensor:
    """Regions of one class of every size, a noisy corner, a border without labels."""
    targets = torch.zeros(2, *size, dtype=torch.int64)
    for label, (side, top, left) in enumerate(((32, 0, 32), (16, 32, 0), (8, 48, 16)), start=1):
        targets[:, top : top + side, left : left + side] = label
    noise = torch.randint(0, CLASSES, (2, 32, 16), generator=torch.Generator().manual_seed(3))
    targets[:, 32:, 48:64] = noise
    targets[:, 60:] = targets[:, :, 90:] = IGNORE
    return targets


def test_logits_are_those_of_the_assigned_levels() -> None:
    head = build(threshold=0.5).eval()
    prediction = head.predict(make_inputs())
    auxiliary = prediction.auxiliary
    assert [tuple(auxiliary[f"semantic_{s}"].shape) for s in STRIDES] == [
        (2, CLASSES, 64 // s, 96 // s) for s in STRIDES
    ]
    assert [tuple(auxiliary[f"unity_{s}"].shape) for s in STRIDES[:-1]] == [(2, 64 // s, 96 // s) for s in STRIDES[:-1]]
    unity = [auxiliary[f"unity_{s}"].sigmoid() for s in STRIDES[:-1]]
    levels = assign_levels(unity, STRIDES, 0.5)
    assert len(levels.unique()) > 1  # else the test would be weak
    assert torch.equal(auxiliary["levels"], levels)
    assert torch.equal(prediction.logits, fuse_pyramid(levels, [auxiliary[f"semantic_{s}"] for s in STRIDES]))


@pytest.mark.parametrize("output", ["pyramidal", "single"])
def test_feature_is_the_input_of_the_finest_classifier(output: str) -> None:
    head = build(output=output).eval()
    prediction = head.predict(make_inputs())
    finest = prediction.auxiliary.get("semantic_4", prediction.logits)
    assert torch.equal(head.classifiers[-1](prediction.feature), finest)


@pytest.mark.parametrize("policy", POLICIES)
def test_losses_equal_equation_1(policy: str) -> None:
    head, targets = build(relabelling=policy, threshold=0.5, loss_weight=2.0), targets_of()
    prediction = head.predict(make_inputs())
    unity = [prediction.auxiliary[f"unity_{s}"] for s in STRIDES[:-1]]
    pyramid = relabel(build_label_pyramid(targets, STRIDES, IGNORE), policy, [u.detach().sigmoid() for u in unity], 0.5)
    semantic, cells = [], []
    for stride, labels in zip(STRIDES, pyramid.semantic):
        logits = prediction.auxiliary[f"semantic_{stride}"].permute(0, 2, 3, 1)
        valid = labels != IGNORE
        semantic.append(F.cross_entropy(logits[valid], labels[valid]) if valid.any() else torch.tensor(0.0))
    for logits, ground_truth in zip(unity, pyramid.unity):
        valid = ground_truth >= 0
        loss = F.binary_cross_entropy_with_logits(logits[valid], ground_truth[valid].float())
        cells.append(loss if valid.any() else torch.tensor(0.0))
    losses = head.losses(prediction, targets)
    assert losses.keys() == {"loss_sem_seg", "loss_unity"}
    torch.testing.assert_close(losses["loss_sem_seg"], 2 * sum(semantic) / 4)
    torch.testing.assert_close(losses["loss_unity"], 2 * sum(cells) / 3)


@pytest.mark.parametrize("policy", POLICIES)
def test_cells_outside_the_semantic_loss_have_no_gradient(policy: str) -> None:
    head, targets = build(relabelling=policy, threshold=0.4), targets_of()
    prediction = head.predict(make_inputs())
    for value in prediction.auxiliary.values():
        if value.requires_grad:
            value.retain_grad()
    head.losses(prediction, targets)["loss_sem_seg"].backward()
    unity = [prediction.auxiliary[f"unity_{s}"] for s in STRIDES[:-1]]
    ground_truth = build_label_pyramid(targets, STRIDES, IGNORE)
    relabeled = relabel(ground_truth, policy, [u.detach().sigmoid() for u in unity], 0.4)
    resolved = 0
    for stride, before, after in zip(STRIDES, ground_truth.semantic, relabeled.semantic):
        gradient = prediction.auxiliary[f"semantic_{stride}"].grad
        seen = (after != IGNORE)[:, None].expand_as(gradient)
        assert not gradient[~seen].any() and gradient[seen].all()
        resolved += int(((before != IGNORE) & (after == IGNORE)).sum())
    # Without resolved cells this would be a test of mix-cells alone.
    assert bool(resolved) is (policy != "none")
    assert all(u.grad is None for u in unity)


@pytest.mark.parametrize("classes", [CLASSES, 300])
def test_described_maps_are_those_of_the_levels(classes: int) -> None:
    head = build(threshold=0.5, num_classes=classes).eval()
    prediction = head.predict(make_inputs())
    auxiliary, described = prediction.auxiliary, head.describe(prediction)
    names = ["levels", *(f"unity_{s}" for s in STRIDES[:-1]), *(f"labels_{s}" for s in STRIDES)]
    assert list(described) == names and described["levels"].dtype == torch.uint8
    assert torch.equal(described["levels"].long(), auxiliary["levels"])
    for stride in STRIDES:
        labels = described[f"labels_{stride}"]
        assert labels.dtype == (torch.uint8 if classes <= 256 else torch.int16)
        assert torch.equal(labels.long(), auxiliary[f"semantic_{stride}"].argmax(1))
    for stride in STRIDES[:-1]:
        assert torch.equal(described[f"unity_{stride}"], auxiliary[f"unity_{stride}"].sigmoid())


def test_threshold_is_compared_in_float32() -> None:
    head = build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        exact = head.describe(head.predict(make_inputs()))["unity_8"]
        rounded = exact.bfloat16().float()
        # A threshold between a probability and its rounded value distinguishes the two.
        for value, other in zip(exact.flatten()[:8].tolist(), rounded.flatten()[:8].tolist()):
            head.threshold = (value + other) / 2
            described = head.describe(head.predict(make_inputs()))
            unity = [described[f"unity_{s}"] for s in STRIDES[:-1]]
            assert all(level.dtype == torch.float32 for level in unity)
            assert torch.equal(described["levels"].long(), assign_levels(unity, STRIDES, head.threshold))


@pytest.mark.parametrize("output", ["finest", "single"])
def test_outputs_of_one_level_have_no_described_maps(output: str) -> None:
    head = build(output=output)
    assert head.describe(head.predict(make_inputs())) == {}


def test_finest_output_trains_the_pyramid_but_uses_one_level() -> None:
    pyramidal, finest = build(), build(output="finest")
    finest.load_state_dict(pyramidal.state_dict())
    prediction = finest.predict(make_inputs())
    assert torch.equal(prediction.logits, prediction.auxiliary["semantic_4"]) and "levels" not in prediction.auxiliary
    torch.testing.assert_close(
        finest.losses(prediction, targets_of()), pyramidal.losses(pyramidal.predict(make_inputs()), targets_of())
    )


def test_single_output_is_the_network_without_pyramids() -> None:
    head, targets = build(output="single"), targets_of()
    prediction = head.predict(make_inputs())
    assert prediction.logits.shape == (2, CLASSES, 16, 24) and not prediction.auxiliary and len(head.classifiers) == 1
    labels = build_label_pyramid(targets, STRIDES, IGNORE).semantic[-1]  # also a target of the pyramidal output
    expected = F.cross_entropy(prediction.logits, labels, ignore_index=IGNORE)
    torch.testing.assert_close(head.losses(prediction, targets), {"loss_sem_seg": expected})
    assert len(head.context.aggregations) == 4  # context is carried through the levels all the same
    assert build(output="single", context="none").context.factors == (1,)


@pytest.mark.parametrize("context", ["none", "anl", "anl_multi", "coarse_to_fine"])
def test_every_context_trains_in_bfloat16(context: str) -> None:
    head = build(context=context, norm="GN")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = head.predict(HeadInputs({name: 30 * value for name, value in make_inputs().features.items()}))
        losses = head.losses(prediction, targets_of())
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_padded_border_changes_nothing_inside_the_image() -> None:
    """Neither the unity nor the levels of the image depend on the features beyond its border."""
    head = build(threshold=0.5, context="none").eval()
    valid = torch.zeros(2, 1, 64, 96, dtype=torch.bool)
    valid[:, :, :40, :72] = True
    maps, other = make_inputs().features, make_inputs().features
    other["p2"][:, :, 10:], other["p2"][:, :, :, 18:] = 7, -7  # positions of stride 4 from 40 and 72 on
    before, after = (head.predict(HeadInputs(given, valid=valid)).auxiliary for given in (maps, other))
    assert torch.equal(before["levels"][:, :10, :18], after["levels"][:, :10, :18])
    without = [head.predict(HeadInputs(given)).auxiliary["levels"][:, :10, :18] for given in (maps, other)]
    assert not torch.equal(*without)  # without the mask the border matters


def test_positions_with_one_pixel_of_the_image_count_in_full() -> None:
    head, unity = build().eval(), []
    for height, width in ((41, 73), (44, 76)):  # the same positions of stride 4
        valid = torch.zeros(2, 1, 64, 96, dtype=torch.bool)
        valid[:, :, :height, :width] = True
        unity.append(head.predict(make_inputs(valid)).auxiliary["unity_32"])
    assert unity[0].isfinite().all() and torch.equal(*unity)


def test_levels_may_have_other_strides() -> None:
    head = build(strides=(32, 4))
    prediction = head.predict(make_inputs())
    assert {name for name in prediction.auxiliary if name != "levels"} == {"semantic_32", "semantic_4", "unity_32"}
    assert head.size_divisibility == 32 and head.losses(prediction, targets_of())["loss_unity"].isfinite()


def test_config_keys_set_the_options() -> None:
    cfg = get_config()
    node = cfg.MODEL.SEM_SEG_HEAD
    node.NAME, node.NUM_CLASSES, node.IGNORE_VALUE, node.LOSS_WEIGHT = "PyramidalOutputHead", 9, 250, 0.25
    node.IN_FEATURES, node.COMMON_STRIDE, node.CONVS_DIM, node.NORM = ["p2", "p5"], 4, 48, "BN"
    pyramid = node.PYRAMID
    pyramid.STRIDES, pyramid.UNITY_DIM, pyramid.CONTEXT = [16, 4], 24, "anl_multi"
    pyramid.RELABELLING, pyramid.THRESHOLD, pyramid.OUTPUT = "truth", 0.75, "finest"
    head = build_semantic_head(cfg, SHAPES)
    assert isinstance(head, PyramidalOutputHead)
    assert (head.num_classes, head.ignore_value, head.loss_weight) == (9, 250, 0.25)
    assert (head.strides, head.relabelling, head.threshold, head.output) == ((16, 4), "truth", 0.75, "finest")
    assert head.in_features == ["p2", "p5"] and head.project.out_channels == 48
    assert head.unity.embed.out_channels == 24 and head.unity.factors == (4,)
    assert type(head.context).__name__ == "AttendedLevels" and head.context.factors == (4, 1)
    assert isinstance(head.classifiers[0][0].norm, torch.nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": (32, 12, 4)}, "each a larger multiple of the next"),
        ({"strides": (4,)}, "PYRAMID.STRIDES: .* at least two levels"),
        ({"strides": (32, 16, 8)}, "STRIDES must end at COMMON_STRIDE, 4, got 8"),
        ({"threshold": 1.01}, r"THRESHOLD must be in \[0, 1\], got 1.01"),
        ({"threshold": -0.1}, r"THRESHOLD must be in \[0, 1\], got -0.1"),
        ({"threshold": float("nan")}, r"THRESHOLD must be in \[0, 1\], got nan"),
        ({"unity_dim": 0}, "UNITY_DIM must be 1 or more, got 0"),
        ({"context": "psp"}, "CONTEXT must be one of none, anl, anl_multi, coarse_to_fine, got 'psp'"),
        ({"relabelling": "all"}, "RELABELLING must be one of none, truth, true_positives"),
        ({"output": "both"}, "OUTPUT must be one of pyramidal, finest, single"),
        ({"output": "single", "context": "anl_multi"}, "CONTEXT: anl_multi needs several levels"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)
