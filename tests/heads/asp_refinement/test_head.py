import math
from typing import Any

import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.config import get_config
from unified_seg.heads import ASPRefinementHead, HeadInputs, HeadOptions, build_semantic_head
from unified_seg.heads.asp_refinement.atrous_pyramid import AtrousSpatialPyramid

CHANNELS = 32
SHAPES = {f"p{i}": ShapeSpec(channels=CHANNELS, stride=2**i) for i in (2, 3, 4, 5)}


def build(num_classes: int = 7, **options: Any) -> ASPRefinementHead:
    torch.manual_seed(0)
    return ASPRefinementHead(HeadOptions(SHAPES, num_classes), **{"asp_rates": (1, 2, 3), **options})


def features() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {f"p{i}": torch.randn(2, CHANNELS, 64 // 2**i, 128 // 2**i, generator=generator) for i in (2, 3, 4, 5)}


def up(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("asp", [True, False])
@pytest.mark.parametrize("refinement", [True, False])
def test_logits_equal_a_plain_recomputation(asp: bool, refinement: bool) -> None:
    head, maps = build(asp=asp, refinement=refinement), features()
    prediction = head.predict(HeadInputs(maps))
    h2, h3, h4, h5 = (level(maps[name]) for level, name in zip(head.levels, ("p2", "p3", "p4", "p5"), strict=True))
    if refinement:
        r5 = h5
        r4 = h4 + up(r5, h4)
        r3 = h3 + up(r4, h3)
        r2 = h2 + up(r3, h2)
    else:
        r2, r3, r4, r5 = h2, h3, h4, h5
    concatenated = torch.cat([r2, up(r3, r2), up(r4, r2), up(r5, r2)], dim=1)
    assert concatenated.shape[1] == 512
    # The head classifies each level before it is upsampled: the same sum in another order.
    plain = F.conv2d(concatenated, head.classifier.weight, head.classifier.bias)
    torch.testing.assert_close(prediction.logits, plain, rtol=1e-4, atol=1e-5)
    assert torch.equal(prediction.feature, concatenated)
    assert torch.equal(prediction.context, h5)
    assert prediction.logits.shape == (2, 7, 16, 32)


@pytest.mark.parametrize("asp", [True, False])
def test_levels_have_the_structure_of_the_paper(asp: bool) -> None:
    head = build(asp=asp, asp_rates=(6, 12, 18))
    assert head.in_features == ["p2", "p3", "p4", "p5"]
    kinds = [type(level) for level in head.levels]
    assert kinds == [nn.Sequential] * 2 + [AtrousSpatialPyramid if asp else nn.Sequential] * 2
    for level in head.levels:
        if isinstance(level, nn.Sequential):
            assert [(c.kernel_size, c.dilation, c.out_channels) for c in level] == [((3, 3), (1, 1), 128)] * 2
            assert all(isinstance(c.norm, nn.GroupNorm) and c.activation is F.relu for c in level)
    assert (head.classifier.kernel_size, head.classifier.in_channels) == ((1, 1), 512)


def test_parameter_names_are_those_of_checkpoints() -> None:
    # Checkpoints have these names.
    two_convs = [f"levels.{i}.{j}.{p}" for i in (0, 1) for j in (0, 1) for p in ("weight", "norm.weight", "norm.bias")]
    pyramids = [
        f"levels.{i}.{part}.{p}"
        for i in (2, 3)
        for part in (*(f"branches.{j}" for j in range(4)), "project")
        for p in ("weight", "norm.weight", "norm.bias")
    ]
    assert [n for n, _ in build().named_parameters()] == [
        *two_convs, *pyramids, "classifier.weight", "classifier.bias",
    ]  # fmt: skip


def test_order_of_features_in_the_config_does_not_matter() -> None:
    reversed_shapes = dict(reversed(SHAPES.items()))
    head = ASPRefinementHead(HeadOptions(reversed_shapes, num_classes=3))
    assert head.in_features == ["p2", "p3", "p4", "p5"]


def test_common_stride_must_be_that_of_the_finest_feature() -> None:
    with pytest.raises(ValueError, match=r"COMMON_STRIDE must be .* finest feature, 4, got 8"):
        ASPRefinementHead(HeadOptions(SHAPES, 7, common_stride=8))


def test_config_keys_set_the_options() -> None:
    cfg = get_config()
    node = cfg.MODEL.SEM_SEG_HEAD
    node.NAME, node.NUM_CLASSES, node.IGNORE_VALUE, node.LOSS_WEIGHT = "ASPRefinementHead", 9, 250, 0.25
    node.IN_FEATURES, node.CONVS_DIM, node.NORM = ["p2", "p3", "p5"], 64, "BN"
    node.ASP_REFINEMENT.RATES, node.ASP_REFINEMENT.BRANCH_DIM = [2, 5], 16
    node.ASP_REFINEMENT.REFINEMENT = False
    head = build_semantic_head(cfg, SHAPES)
    assert isinstance(head, ASPRefinementHead)
    assert (head.num_classes, head.ignore_value, head.loss_weight, head.refinement) == (9, 250, 0.25, False)
    assert head.in_features == ["p2", "p3", "p5"]
    pyramid = head.levels[2]
    assert isinstance(pyramid, AtrousSpatialPyramid)
    assert [b.dilation[0] for b in pyramid.branches] == [1, 2, 5]
    assert all(b.out_channels == 16 and isinstance(b.norm, nn.BatchNorm2d) for b in pyramid.branches)
    assert pyramid.project.out_channels == 64
    node.ASP_REFINEMENT.ASP = False
    assert isinstance(build_semantic_head(cfg, SHAPES).levels[2], nn.Sequential)


def test_finest_level_reaches_the_coarsest_with_refinement_only() -> None:
    # Only r2 is classified: the gradient reaches the pyramid of P5 through the sums, or not at all.
    for refinement in (True, False):
        head = build(refinement=refinement)
        with torch.no_grad():
            head.classifier.weight[:, 128:] = 0
        head.predict(HeadInputs(features())).logits.sum().backward()
        assert bool(head.levels[3].project.weight.grad.any()) is refinement


def test_initial_loss_is_near_log_k() -> None:
    head = build(num_classes=19)
    targets = torch.randint(0, 19, (2, 64, 128), generator=torch.Generator().manual_seed(2))
    loss = head.losses(head.predict(HeadInputs(features())), targets)["loss_sem_seg"]
    # Equal probabilities of 19 classes cost log 19 = 2.94 a pixel.
    assert abs(loss.item() - math.log(19)) < 0.15
