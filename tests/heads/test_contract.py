"""What every semantic head promises, asked of each registered one by name: a new head is found by itself."""

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from unified_seg.heads import SemanticHead, SemanticPrediction, build_semantic_head, registered_heads

with contextlib.suppress(ImportError):  # an editable install of Detectron2 may lack its projects
    import detectron2.projects.panoptic_deeplab
    import detectron2.projects.point_rend  # noqa: F401  (registration)

CLASSES, IGNORE = 5, 255
STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}
SHAPES = {name: ShapeSpec(channels=32, stride=stride) for name, stride in STRIDES.items()}

# Detectron2 heads that are no semantic head by themselves, and why; everything else registered is tested.
NOT_BY_ITSELF = {
    "PointRendSemSegHead": "refines points around a coarse head of its own; it has no `layers` to give logits",
    "DeepLabV3Head": "has no `layers`, and needs the one stride-8 map of a dilated ResNet",
    "PanopticDeepLabSemSegHead": "its losses take pixel weights from Panoptic-DeepLab's own target generator",
}
HEADS = sorted(set(registered_heads()) - set(NOT_BY_ITSELF))


def deeplab_plus(cfg: CfgNode) -> None:
    head = cfg.MODEL.SEM_SEG_HEAD
    head.IN_FEATURES, head.PROJECT_FEATURES, head.PROJECT_CHANNELS = ["p2", "p5"], ["p2"], [32]
    head.ASPP_CHANNELS, head.ASPP_DILATIONS, head.ASPP_DROPOUT = 32, [1, 2, 3], 0.0
    head.LOSS_TYPE = "cross_entropy"


def psp_on_fpn(cfg: CfgNode) -> None:
    cfg.MODEL.SEM_SEG_HEAD.PSP.AUX_FEATURE = "p4"
    cfg.MODEL.SEM_SEG_HEAD.PSP.DROPOUT = 0.0


def dense_prediction_cell(cfg: CfgNode) -> None:
    cfg.MODEL.SEM_SEG_HEAD.DPC.BRANCH_DIM = 32
    cfg.MODEL.SEM_SEG_HEAD.DPC.DROPOUT = 0.0


def error_correction(cfg: CfgNode) -> None:
    node = cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION
    node.BASE, node.DETAIL_FEATURES = "SemSegFPNHead", ["p4", "p3", "p2"]
    node.ERROR_DIM, node.DETAIL_DIM = 32, 32
    # Untrained, the error branch is sure of nothing.
    node.THRESHOLD = 0.4


def confusion_groups(cfg: CfgNode) -> None:
    node = cfg.MODEL.SEM_SEG_HEAD
    node.CLASS_NAMES = ["road", "sidewalk", "building", "wall", "fence"]
    node.CONFUSION_GROUPS.BASE = "SemSegFPNHead"
    node.CONFUSION_GROUPS.GROUPS = [["road", "sidewalk"], ["wall", "building"]]
    node.CONFUSION_GROUPS.DIM = 32


# Keys that a head needs beyond the defaults.
OWN_CONFIG: dict[str, Callable[[CfgNode], None]] = {
    "ConfusionGroupHead": confusion_groups,
    "DeepLabV3PlusHead": deeplab_plus,
    "DPCHead": dense_prediction_cell,
    "ErrorCorrectionHead": error_correction,
    "PSPHead": psp_on_fpn,
}


@pytest.fixture(params=HEADS)
def head_config(request: pytest.FixtureRequest, tiny_config: CfgNode) -> CfgNode:
    """The config of a model with this head and no detector."""
    cfg = tiny_config
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = cfg.MODEL.ROI_HEADS.NAME = cfg.MODEL.PANOPTIC_FUSION.NAME = ""
    cfg.MODEL.MASK_ON = False
    cfg.MODEL.SEM_SEG_HEAD.NAME = request.param
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = CLASSES
    OWN_CONFIG.get(request.param, lambda cfg: None)(cfg)
    return cfg


@pytest.fixture
def head(head_config: CfgNode) -> SemanticHead:
    torch.manual_seed(0)
    return build_semantic_head(head_config, SHAPES)


def features_of(size: tuple[int, int], images: int = 2, head: SemanticHead | None = None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    height, width = size
    maps = {
        name: torch.randn(images, 32, height // stride, width // stride, generator=generator)
        for name, stride in STRIDES.items()
    }
    if head is not None and head.needs_image:
        maps["image"] = torch.randn(images, 3, height, width, generator=generator)
    return maps


def targets_of(size: tuple[int, int], images: int = 2) -> Tensor:
    """Noise, with regions of one class that are large enough for heads that label whole cells."""
    targets = torch.randint(0, CLASSES, (images, *size), generator=torch.Generator().manual_seed(2))
    for label, (side, left) in enumerate(((32, 0), (16, 32), (8, 48))):
        targets[:, :side, left : left + side] = label
    targets[:, -3:] = IGNORE
    return targets


def losses_of(head: SemanticHead, size: tuple[int, int]) -> tuple[SemanticPrediction, dict[str, Tensor]]:
    prediction = head.predict(features_of(size, head=head))
    return prediction, head.losses(prediction, targets_of(size))


def has_mode(head: nn.Module) -> bool:
    """Whether something in it behaves differently in training by design."""
    return any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) or (isinstance(m, nn.modules.dropout._DropoutNd) and m.p)
        for m in head.modules()
    )


def test_every_exception_is_a_head_of_detectron2() -> None:
    from detectron2.modeling import SEM_SEG_HEADS_REGISTRY

    for name in set(NOT_BY_ITSELF) & set(registered_heads()):
        assert SEM_SEG_HEADS_REGISTRY.get(name).__module__.startswith("detectron2.")
    assert {"ASPRefinementHead", "DPCHead", "DeepLabV3PlusHead", "SemSegFPNHead"} <= set(HEADS)


@pytest.mark.parametrize("size", [(64, 96), (32, 32), (96, 160), (32, 224)])
def test_logits_are_finite_and_at_the_heads_own_stride(head: SemanticHead, size: tuple[int, int]) -> None:
    prediction = head.predict(features_of(size, head=head))
    assert head.num_classes == CLASSES
    assert prediction.logits.shape == (2, CLASSES, size[0] // head.common_stride, size[1] // head.common_stride)
    for part in (prediction.logits, prediction.feature, prediction.context, *prediction.auxiliary.values()):
        assert part is None or (part.isfinite().all() and len(part) == 2)


def test_described_maps_have_a_whole_stride(head: SemanticHead) -> None:
    for values in head.describe(head.predict(features_of((64, 96), head=head))).values():
        stride = 64 // values.shape[1]
        assert values.shape == (2, 64 // stride, 96 // stride)
        assert values.isfinite().all()


def test_losses_reach_every_parameter(head: SemanticHead) -> None:
    _, losses = losses_of(head.train(), (64, 96))
    assert losses and all(name.startswith("loss_") for name in losses)
    assert all(loss.ndim == 0 and loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def scaled(prediction: SemanticPrediction, image: int, factor: float) -> SemanticPrediction:
    """The prediction with everything that it says of one image multiplied."""
    other = copy.copy(prediction)
    other.logits = prediction.logits.clone()
    other.auxiliary = {name: value.clone() for name, value in prediction.auxiliary.items()}
    for value in (other.logits, *other.auxiliary.values()):
        if value.is_floating_point():
            value[image] *= factor
    return other


def test_pixels_to_ignore_change_nothing(head: SemanticHead) -> None:
    prediction = head.predict(features_of((64, 96), head=head))
    targets = targets_of((64, 96))
    targets[1] = IGNORE
    # Nothing of the second image counts, so what is said of it may be anything.
    losses = head.losses(prediction, targets)
    torch.testing.assert_close(head.losses(scaled(prediction, 1, -7), targets), losses)
    assert sum(head.losses(scaled(prediction, 0, -7), targets).values()) != sum(losses.values())


def test_without_a_valid_pixel_the_loss_is_zero(head: SemanticHead) -> None:
    prediction = head.train().predict(features_of((64, 96), head=head))
    losses = head.losses(prediction, torch.full((2, 64, 96), IGNORE))
    total = sum(losses.values())
    assert total == 0
    total.backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name


def test_forward_is_detectron2s_contract(head: SemanticHead) -> None:
    features, targets = features_of((64, 96), head=head), targets_of((64, 96))
    result, losses = head.train()(features, targets)
    assert result is None
    assert losses.keys() == losses_of(head, (64, 96))[1].keys()
    logits, losses = head.eval()(features, None)
    assert losses == {}
    assert logits.shape == (2, CLASSES, 64, 96)
    torch.testing.assert_close(logits, head.upsample(head.predict(features).logits))


def test_training_without_targets_is_an_error(head: SemanticHead) -> None:
    with pytest.raises(ValueError, match="needs targets"):
        head.train()(features_of((32, 32), head=head))


def test_prediction_does_not_depend_on_the_mode(head: SemanticHead) -> None:
    if has_mode(head):
        pytest.skip("it has BatchNorm or dropout")
    features = features_of((64, 96), head=head)
    assert torch.equal(head.train().predict(features).logits, head.eval().predict(features).logits)


def test_images_of_a_batch_do_not_mix(head: SemanticHead) -> None:
    features = features_of((64, 96), head=head)
    alone = {name: value[1:] for name, value in features.items()}
    head.eval()
    torch.testing.assert_close(head.predict(features).logits[1:], head.predict(alone).logits, rtol=1e-4, atol=1e-4)


def test_bfloat16_autocast(head: SemanticHead) -> None:
    exact = losses_of(head, (64, 96))[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction, losses = losses_of(head, (64, 96))
    assert prediction.logits.dtype == torch.bfloat16
    for name, loss in losses.items():
        # bfloat16 keeps 8 bits; the loss itself is a mean in float32.
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, exact[name], rtol=0.05, atol=0.02)
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_the_loss_weight_is_a_factor(head_config: CfgNode) -> None:
    totals = []
    for weight in (1.0, 2.5):
        head_config.MODEL.SEM_SEG_HEAD.LOSS_WEIGHT = weight
        torch.manual_seed(0)
        totals.append(sum(losses_of(build_semantic_head(head_config, SHAPES), (64, 96))[1].values()))
    torch.testing.assert_close(totals[1], 2.5 * totals[0])


def batch_of(sizes: list[tuple[int, int]], training: bool) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(3)
    batch = []
    for height, width in sizes:
        image: dict[str, Any] = {"image": torch.randint(0, 256, (3, height, width), generator=generator).byte()}
        if training:
            image["sem_seg"] = torch.randint(0, CLASSES, (height, width), generator=generator)
        else:
            image |= {"height": height, "width": width}
        batch.append(image)
    return batch


def test_odd_and_mixed_sizes_in_the_model(head_config: CfgNode) -> None:
    torch.manual_seed(0)
    model = META_ARCH_REGISTRY.get("UnifiedSegmentor")(head_config)
    sizes = [(65, 99), (48, 130), (33, 31)]
    losses = model.train()(batch_of(sizes, training=True))
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.sem_seg_head.parameters())
    with torch.no_grad():
        outputs = model.eval()(batch_of(sizes, training=False))
    assert [tuple(o["sem_seg"].shape[1:]) for o in outputs] == sizes
    assert all(o["sem_seg"].isfinite().all() for o in outputs)
