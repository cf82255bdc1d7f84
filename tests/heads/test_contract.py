"""The contract of semantic heads, checked on every registered head; a new head is found by its registration."""

import contextlib
import copy
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY
from model_parts import without_detector
from torch import Tensor, nn

from unified_seg.heads import (
    ErrorCorrectionHead,
    HeadInputs,
    SemanticHead,
    SemanticPrediction,
    WrapperPrediction,
    build_semantic_head,
    semantic_head_names,
)

with contextlib.suppress(ImportError):  # an editable install of Detectron2 may lack its projects
    import detectron2.projects.panoptic_deeplab
    import detectron2.projects.point_rend  # noqa: F401  (registration)

CLASSES, IGNORE = 5, 255
STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}
SHAPES = {name: ShapeSpec(channels=32, stride=stride) for name, stride in STRIDES.items()}
SIZE = (64, 96)

# Heads of Detectron2 that can't be used as a semantic head by themselves, and why; all other heads are tested.
EXCLUDED = {
    "PointRendSemSegHead": "refines points around a coarse head of its own; it has no `layers` to give logits",
    "DeepLabV3Head": "has no `layers`, and needs the one stride-8 map of a dilated ResNet",
    "PanopticDeepLabSemSegHead": "its losses take pixel weights from Panoptic-DeepLab's own target generator",
}
HEADS = sorted(set(semantic_head_names()) - set(EXCLUDED))

# Keys below MODEL.SEM_SEG_HEAD that a head needs beyond the defaults; without dropout, so that modes can be compared.
OWN_KEYS: dict[str, dict[str, Any]] = {
    "ConfusionGroupHead": {
        "CLASS_NAMES": ["road", "sidewalk", "building", "wall", "fence"],
        "CONFUSION_GROUPS.BASE": "SemSegFPNHead",
        "CONFUSION_GROUPS.GROUPS": [["road", "sidewalk"], ["wall", "building"]],
        "CONFUSION_GROUPS.DIM": 32,
    },
    "DeepLabV3PlusHead": {
        "IN_FEATURES": ["p2", "p5"],
        "PROJECT_FEATURES": ["p2"],
        "PROJECT_CHANNELS": [32],
        "ASPP_CHANNELS": 32,
        "ASPP_DILATIONS": [1, 2, 3],
        "ASPP_DROPOUT": 0.0,
        "LOSS_TYPE": "cross_entropy",
    },
    "DPCHead": {"DPC.BRANCH_DIM": 32, "DPC.DROPOUT": 0.0},
    "ErrorCorrectionHead": {
        "ERROR_CORRECTION.BASE": "SemSegFPNHead",
        "ERROR_CORRECTION.DETAIL_FEATURES": ["p4", "p3", "p2"],
        "ERROR_CORRECTION.ERROR_DIM": 32,
        "ERROR_CORRECTION.DETAIL_DIM": 32,
        "ERROR_CORRECTION.THRESHOLD": 0.4,  # the error probabilities of an untrained branch are near 0.5
    },
    "PSPHead": {"PSP.AUX_FEATURE": "p4", "PSP.DROPOUT": 0.0},
    "TemperatureHead": {"TEMPERATURE.BASE": "LinearHead"},
}


@pytest.fixture(params=HEADS)
def head_config(request: pytest.FixtureRequest, tiny_config: CfgNode) -> CfgNode:
    """The config of a model with this head and no detector."""
    cfg = tiny_config
    without_detector(cfg)
    cfg.MODEL.SEM_SEG_HEAD.NAME = request.param
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = CLASSES
    for key, value in OWN_KEYS.get(request.param, {}).items():
        cfg.merge_from_list([f"MODEL.SEM_SEG_HEAD.{key}", value])
    return cfg


@pytest.fixture
def head(head_config: CfgNode) -> SemanticHead:
    torch.manual_seed(0)
    return build_semantic_head(head_config, SHAPES)


def make_inputs(size: tuple[int, int] = SIZE, images: int = 2) -> HeadInputs:
    generator = torch.Generator().manual_seed(1)
    features = {
        name: torch.randn(images, 32, size[0] // stride, size[1] // stride, generator=generator)
        for name, stride in STRIDES.items()
    }
    return HeadInputs(features, torch.randn(images, 3, *size, generator=generator))


def make_targets(size: tuple[int, int] = SIZE, images: int = 2) -> Tensor:
    """Noise, with regions of one class that are large enough for heads that label whole cells."""
    targets = torch.randint(0, CLASSES, (images, *size), generator=torch.Generator().manual_seed(2))
    for label, (side, left) in enumerate(((32, 0), (16, 32), (8, 48))):
        targets[:, :side, left : left + side] = label
    targets[:, -3:] = IGNORE
    return targets


def losses_of(head: SemanticHead) -> tuple[SemanticPrediction, dict[str, Tensor]]:
    prediction = head.predict(make_inputs())
    return prediction, head.losses(prediction, make_targets())


def has_mode(head: nn.Module) -> bool:
    """Return whether a module of the head behaves differently in training by design."""
    return any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) or (isinstance(m, nn.modules.dropout._DropoutNd) and m.p)
        for m in head.modules()
    )


def test_only_heads_of_detectron2_are_excluded() -> None:
    for name in set(EXCLUDED) & set(semantic_head_names()):
        assert SEM_SEG_HEADS_REGISTRY.get(name).__module__.startswith("detectron2.")
    assert {"ASPRefinementHead", "DPCHead", "DeepLabV3PlusHead", "SemSegFPNHead"} <= set(HEADS)


@pytest.mark.parametrize("size", [(64, 96), (32, 32), (96, 160), (32, 224)])
def test_logits_are_finite_at_the_declared_stride(head: SemanticHead, size: tuple[int, int]) -> None:
    prediction = head.predict(make_inputs(size))
    assert head.num_classes == CLASSES
    assert prediction.logits.shape == (2, CLASSES, size[0] // head.common_stride, size[1] // head.common_stride)
    for part in (prediction.logits, prediction.feature, prediction.context, *prediction.auxiliary.values()):
        assert part is None or (part.isfinite().all() and len(part) == 2)


def test_context_and_feature_have_the_declared_channels(head: SemanticHead) -> None:
    prediction = head.predict(make_inputs())
    for part, declared in (
        (prediction.context, head.context_channels),
        (prediction.feature, head.feature_channels),
    ):
        assert declared == (0 if part is None else part.shape[1])


def test_described_maps_have_a_whole_stride(head: SemanticHead) -> None:
    for values in head.describe(head.predict(make_inputs())).values():
        stride = SIZE[0] // values.shape[1]
        assert values.shape == (2, SIZE[0] // stride, SIZE[1] // stride)
        assert values.isfinite().all()


def test_losses_reach_every_parameter(head: SemanticHead) -> None:
    _, losses = losses_of(head.train())
    assert losses and all(name.startswith("loss_") for name in losses)
    assert all(loss.ndim == 0 and loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def scale_image(prediction: SemanticPrediction, image: int, factor: float) -> SemanticPrediction:
    """Return the prediction with all maps of one image multiplied, those of base heads included."""
    other = copy.copy(prediction)
    other.logits = prediction.logits.clone()
    other.auxiliary = {name: value.clone() for name, value in prediction.auxiliary.items()}
    for value in (other.logits, *other.auxiliary.values()):
        if value.is_floating_point():
            value[image] *= factor
    if isinstance(other, WrapperPrediction):
        other.base = scale_image(other.base, image, factor)
    return other


def test_ignored_pixels_do_not_change_the_losses(head: SemanticHead) -> None:
    prediction = head.predict(make_inputs())
    targets = make_targets()
    targets[1] = IGNORE
    losses = head.losses(prediction, targets)
    torch.testing.assert_close(head.losses(scale_image(prediction, 1, -7), targets), losses)
    assert sum(head.losses(scale_image(prediction, 0, -7), targets).values()) != sum(losses.values())


def test_loss_without_valid_pixels_is_zero(head: SemanticHead) -> None:
    prediction = head.train().predict(make_inputs())
    losses = head.losses(prediction, torch.full((2, *SIZE), IGNORE))
    total = sum(losses.values())
    assert total == 0
    total.backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name


def test_forward_keeps_detectron2s_contract(head: SemanticHead) -> None:
    if isinstance(head, ErrorCorrectionHead):
        pytest.skip("Detectron2's models give no image to their heads")
    inputs = make_inputs()
    result, losses = head.train()(inputs.features, make_targets())
    assert result is None
    assert losses.keys() == losses_of(head)[1].keys()
    with pytest.raises(ValueError, match="needs targets"):
        head(inputs.features)
    logits, losses = head.eval()(inputs.features, None)
    assert losses == {}
    assert logits.shape == (2, CLASSES, *SIZE)
    torch.testing.assert_close(logits, head.upsample(head.predict(inputs).logits))


def test_prediction_does_not_depend_on_the_mode(head: SemanticHead) -> None:
    if has_mode(head):
        pytest.skip("it has BatchNorm or dropout")
    inputs = make_inputs()
    assert torch.equal(head.train().predict(inputs).logits, head.eval().predict(inputs).logits)


def test_images_of_a_batch_do_not_mix(head: SemanticHead) -> None:
    inputs = make_inputs()
    alone = HeadInputs({name: value[1:] for name, value in inputs.features.items()}, inputs.image[1:])
    head.eval()
    torch.testing.assert_close(head.predict(inputs).logits[1:], head.predict(alone).logits, rtol=1e-4, atol=1e-4)


def test_losses_in_bfloat16_are_close(head: SemanticHead) -> None:
    exact = losses_of(head)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction, losses = losses_of(head)
    assert prediction.logits.dtype == torch.bfloat16
    for name, loss in losses.items():
        # bfloat16 keeps 8 bits; the loss itself is a mean in float32.
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, exact[name], rtol=0.05, atol=0.02)
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_loss_weight_is_a_factor(head_config: CfgNode) -> None:
    totals = []
    for weight in (1.0, 2.5):
        head_config.MODEL.SEM_SEG_HEAD.LOSS_WEIGHT = weight
        torch.manual_seed(0)
        totals.append(sum(losses_of(build_semantic_head(head_config, SHAPES))[1].values()))
    torch.testing.assert_close(totals[1], 2.5 * totals[0])


def make_batch(sizes: list[tuple[int, int]], training: bool) -> list[dict[str, Any]]:
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


def test_model_takes_odd_and_mixed_sizes(head_config: CfgNode) -> None:
    torch.manual_seed(0)
    model = META_ARCH_REGISTRY.get("UnifiedSegmentor")(head_config)
    sizes = [(65, 99), (48, 130), (33, 31)]
    losses = model.train()(make_batch(sizes, training=True))
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.sem_seg_head.parameters())
    with torch.no_grad():
        outputs = model.eval()(make_batch(sizes, training=False))
    assert [tuple(o["sem_seg"].shape[1:]) for o in outputs] == sizes
    assert all(o["sem_seg"].isfinite().all() for o in outputs)


def test_state_dict_names_equal_module_names(head: SemanticHead) -> None:
    named = [*dict(head.named_parameters()), *dict(head.named_buffers())]
    assert set(head.state_dict()) == set(named)
