import math
from typing import Any

import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.config import get_config
from unified_seg.heads import HeadInputs, HeadOptions, PSPHead, build_semantic_head
from unified_seg.ops.losses import mean_cross_entropy

RES = {"res4": ShapeSpec(channels=16, stride=8), "res5": ShapeSpec(channels=32, stride=8)}
FPN = {f"p{i}": ShapeSpec(channels=32, stride=2**i) for i in (2, 3, 4, 5)}


def build(**options: Any) -> PSPHead:
    torch.manual_seed(0)
    common = {"num_classes": 7, "conv_dim": 32, "common_stride": 8}
    shared = {"num_classes", "common_stride", "loss_weight", "norm"} & options.keys()
    common |= {name: options.pop(name) for name in shared}
    return PSPHead(
        HeadOptions({"res5": RES["res5"]}, **common),
        **{"auxiliary": ("res4", RES["res4"]), "auxiliary_dim": 32, **options},
    )


def features(images: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(images, s.channels, 8, 16, generator=generator) for name, s in RES.items()}


def targets_of(images: int = 2) -> Tensor:
    targets = torch.randint(0, 7, (images, 64, 128), generator=torch.Generator().manual_seed(2))
    targets[:, :5] = 255
    return targets


def test_prediction_equals_the_papers_network_step_by_step() -> None:
    head, maps = build().eval(), features()
    prediction = head.predict(HeadInputs(maps))
    pooling, conv = head.levels[0]
    pooled = pooling(maps["res5"])
    assert pooled.shape == (2, 64, 8, 16)
    hidden = conv(pooled)
    assert (conv.kernel_size, conv.out_channels, head.classifier.kernel_size) == ((3, 3), 32, (1, 1))
    logits = F.conv2d(hidden, head.classifier.weight, head.classifier.bias)
    torch.testing.assert_close(prediction.logits, logits)
    assert torch.equal(prediction.context, hidden) and torch.equal(prediction.feature, hidden)
    assert prediction.logits.shape == (2, 7, 8, 16)


def test_losses_are_the_two_cross_entropies() -> None:
    head, maps, targets = build(loss_weight=3.0).eval(), features(), targets_of()
    losses = head.losses(head.predict(HeadInputs(maps)), targets)
    assert losses.keys() == {"loss_sem_seg", "loss_sem_seg_auxiliary"}

    def cross_entropy(logits: Tensor) -> Tensor:
        large = F.interpolate(logits, size=(64, 128), mode="bilinear", align_corners=False)
        return F.cross_entropy(large, targets, ignore_index=255)

    torch.testing.assert_close(losses["loss_sem_seg"], 3 * cross_entropy(head.predict(HeadInputs(maps)).logits))
    auxiliary = head.auxiliary_classifier([head.auxiliary_conv(maps["res4"])])
    torch.testing.assert_close(losses["loss_sem_seg_auxiliary"], 3 * 0.4 * cross_entropy(auxiliary))


def test_auxiliary_feature_may_have_another_stride() -> None:
    shapes = {"p4": ShapeSpec(channels=16, stride=16)}
    head, targets = build(auxiliary=("p4", shapes["p4"])).eval(), targets_of()
    feature = torch.randn(2, 16, 4, 8)
    losses = head.losses(head.predict(HeadInputs({**features(), "p4": feature})), targets)
    logits = F.interpolate(head.classify_auxiliary(feature), size=(64, 128), mode="bilinear", align_corners=False)
    torch.testing.assert_close(losses["loss_sem_seg_auxiliary"], 0.4 * mean_cross_entropy(logits, targets, 255))


def test_auxiliary_classifier_is_used_in_training_only() -> None:
    """Inference does not compute it, and the main branch has no gradient of its loss."""
    head, maps = build().eval(), features()
    head.auxiliary_conv = nn.Identity()  # would break what uses it
    head.auxiliary_classifier = None
    assert head(maps)[0].shape == (2, 7, 64, 128)
    head = build()
    head.losses(head.predict(HeadInputs(features())), targets_of())["loss_sem_seg_auxiliary"].backward()
    assert all(p.grad is None for name, p in head.named_parameters() if not name.startswith("auxiliary"))
    assert all(p.grad.any() for name, p in head.named_parameters() if name.startswith("auxiliary"))


def test_auxiliary_loss_can_be_left_out() -> None:
    head = build(auxiliary=None)
    assert head.losses(head.predict(HeadInputs(features())), targets_of()).keys() == {"loss_sem_seg"}
    assert not [name for name, _ in head.named_parameters() if "auxiliary" in name]


def test_dropout_acts_in_training_only() -> None:
    head, maps = build(dropout=0.5), features()
    assert not torch.equal(head.predict(HeadInputs(maps)).logits, head.predict(HeadInputs(maps)).logits)
    assert torch.equal(head.eval().predict(HeadInputs(maps)).logits, head.predict(HeadInputs(maps)).logits)


@pytest.mark.parametrize("norm", ["GN", "BN", "SyncBN"])
def test_every_norm_trains_at_batch_size_one(norm: str) -> None:
    head = build(norm=norm)
    losses = head.losses(head.predict(HeadInputs(features(1))), targets_of(1))
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_coarsest_level_of_an_fpn_is_pooled() -> None:
    head = PSPHead(HeadOptions(FPN, num_classes=5, conv_dim=32)).eval()
    assert head.in_features == ["p2", "p3", "p4", "p5"]
    maps = {f"p{i}": torch.randn(2, 32, 64 // 2**i, 128 // 2**i) for i in (2, 3, 4, 5)}
    prediction = head.predict(HeadInputs(maps))
    assert prediction.logits.shape == (2, 5, 16, 32) and prediction.feature.shape == (2, 4 * 32, 16, 32)
    assert prediction.context.shape == (2, 32, 2, 4)
    # A change of one corner of P5 changes the logits everywhere, one of P4 only nearby; without norms, which mix a map.
    head = PSPHead(HeadOptions(FPN, num_classes=5, conv_dim=32, norm="")).eval()
    prediction = head.predict(HeadInputs(maps))
    for name, everywhere in (("p5", True), ("p4", False)):
        other = {**maps, name: maps[name].clone()}
        other[name][:, :, 0, 0] += 5
        changed = (head.predict(HeadInputs(other)).logits - prediction.logits).abs().amax(1) > 1e-6
        assert bool(changed[:, -1, -1].all()) is everywhere


def test_config_keys_set_the_options() -> None:
    cfg = get_config()
    node = cfg.MODEL.SEM_SEG_HEAD
    node.NAME, node.NUM_CLASSES, node.IGNORE_VALUE, node.LOSS_WEIGHT = "PSPHead", 9, 250, 0.25
    node.IN_FEATURES, node.COMMON_STRIDE, node.CONVS_DIM, node.NORM = ["res5"], 8, 64, "BN"
    node.PSP.BINS, node.PSP.POOL, node.PSP.REDUCTION, node.PSP.DROPOUT = [1, 4], "max", False, 0.25
    node.PSP.AUX_CONVS_DIM, node.PSP.AUX_LOSS_WEIGHT = 96, 0.7
    head = build_semantic_head(cfg, RES)
    assert isinstance(head, PSPHead)
    assert (head.num_classes, head.ignore_value, head.loss_weight, head.common_stride) == (9, 250, 0.25, 8)
    pooling, conv = head.levels[0]
    assert (pooling.bins, pooling.pool, pooling.out_channels) == ((1, 4), F.adaptive_max_pool2d, 3 * 32)
    assert conv.out_channels == 64 and isinstance(conv.norm, nn.BatchNorm2d)
    assert head.dropout.p == 0.25
    assert (head.auxiliary_feature, head.auxiliary_conv.in_channels, head.auxiliary_conv.out_channels) == (
        "res4", 16, 96,
    )  # fmt: skip
    assert head.auxiliary_weight == 0.7
    node.PSP.AUX_LOSS_WEIGHT = 0.0
    assert build_semantic_head(cfg, RES).auxiliary_feature is None


def test_wider_of_two_features_of_one_stride_is_pooled() -> None:
    for shapes in (RES, dict(reversed(RES.items()))):
        assert PSPHead(HeadOptions(shapes, num_classes=3, conv_dim=32, common_stride=8)).in_features == ["res4", "res5"]
    with pytest.raises(ValueError, match="IN_FEATURES is empty"):
        PSPHead(HeadOptions({}, num_classes=3))


def test_sizes_not_divisible_by_the_stride_train() -> None:
    # Detectron2's SemanticSegmentor does not pad for a plain ResNet: 60 x 100 pixels give 8 x 13 positions.
    maps = {name: torch.randn(1, s.channels, 8, 13) for name, s in RES.items()}
    losses = build().train()(maps, torch.zeros(1, 60, 100, dtype=torch.int64))[1]
    assert all(loss.isfinite() for loss in losses.values())


def test_invalid_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"PSP\.AUX_LOSS_WEIGHT must be above 0, got -0\.4"):
        build(auxiliary_weight=-0.4)
    with pytest.raises(ValueError, match=r"PSP\.DROPOUT must be in \[0, 1\), got 1"):
        build(dropout=1)
    with pytest.raises(ValueError, match=r"MODEL\.SEM_SEG_HEAD\.PSP: bins must be whole numbers"):
        build(bins=[0])
    with pytest.raises(ValueError, match=r"MODEL\.SEM_SEG_HEAD\.PSP: pool must be one of average, max, got 'mean'"):
        build(pool="mean")
    with pytest.raises(ValueError, match=r"COMMON_STRIDE must be .* finest feature, 8, got 4"):
        build(common_stride=4)
    cfg = get_config()
    node = cfg.MODEL.SEM_SEG_HEAD
    node.NAME, node.IN_FEATURES, node.COMMON_STRIDE, node.NUM_CLASSES = "PSPHead", ["res5"], 8, 3
    with pytest.raises(ValueError, match="AUX_FEATURE: the backbone has no 'res4'; it has res5"):
        build_semantic_head(cfg, {"res5": RES["res5"]})
    node.PSP.AUX_LOSS_WEIGHT = -1.0
    with pytest.raises(ValueError, match="must be above 0, got -1"):
        build_semantic_head(cfg, RES)


def test_initial_loss_is_near_log_k() -> None:
    head = build(num_classes=19).eval()
    loss = head.losses(head.predict(HeadInputs(features())), targets_of())["loss_sem_seg"]
    assert abs(loss.item() - math.log(19)) < 0.15
