"""Test-time augmentation of whole models."""

from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.modeling import GeneralizedRCNNWithTTA
from detectron2.modeling import build_model as build_detectron2_model
from detectron2.structures import Instances
from model_parts import without_detector, without_masks, without_semantic
from point_model import point_model, random_image
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.config import ConfigError
from unified_seg.data.pipeline.input_augmentation import build_augmentations
from unified_seg.data.resolve import resolve_config
from unified_seg.inference import AugmentedSegmentor, add_test_augmentation
from unified_seg.inference.views import ViewRule
from unified_seg.meta_arch import UnifiedSegmentor, build_model
from unified_seg.structures.logit_map import LogitMap

SIZES = [(64, 128), (90, 101), (40, 57)]
Outputs = dict[str, Any]


def build(cfg: CfgNode) -> tuple[UnifiedSegmentor, AugmentedSegmentor]:
    """The plain model and the augmented one; its masks have a shape, as those of a trained model."""
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    if cfg.MODEL.MASK_ON:
        nn.init.normal_(model.roi_heads.mask_head.predictor.weight, std=0.5)
    _, augmented = add_test_augmentation(cfg, model)
    assert isinstance(model, UnifiedSegmentor) and isinstance(augmented, AugmentedSegmentor)
    return model, augmented.eval()


def smooth_image(height: int, width: int, seed: int) -> Tensor:
    """(3, height, width) uint8, with something to detect."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=generator) * 255
    return F.interpolate(coarse, size=(height, width), mode="bilinear")[0].byte()


def plain_input(cfg: CfgNode, image: Tensor) -> dict[str, Any]:
    """What the test loader makes of an image."""
    augmented = T.AugInput(image.permute(1, 2, 0).numpy())
    build_augmentations(cfg, is_train=False)(augmented)
    resized = torch.from_numpy(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
    return {"image": resized, "height": image.shape[1], "width": image.shape[2]}


@torch.no_grad()
def run(model: nn.Module, *inputs: dict[str, Any]) -> list[Outputs]:
    return model(list(inputs))


def assert_same_instances(found: Instances, expected: Instances, exactly: bool = True) -> None:
    assert len(found) == len(expected) > 0 and found.image_size == expected.image_size
    tolerance = {"rtol": 0, "atol": 0 if exactly else 1e-3}
    torch.testing.assert_close(found.pred_boxes.tensor, expected.pred_boxes.tensor, **tolerance)
    torch.testing.assert_close(found.scores, expected.scores, **tolerance)
    assert torch.equal(found.pred_classes, expected.pred_classes)
    if expected.has("pred_masks"):
        masks = [
            each.pred_masks if isinstance(each.pred_masks, Tensor) else each.pred_masks.full()
            for each in (found, expected)
        ]
        different = (masks[0] != masks[1]).float().mean()
        assert different <= (0 if exactly else 1e-4)


def assert_same_outputs(found: Outputs, expected: Outputs) -> None:
    assert found.keys() == expected.keys()
    for key in found.keys() & {"sem_seg", "sem_seg_labels"}:
        assert torch.equal(found[key], expected[key])
    if "instances" in expected:
        assert_same_instances(found["instances"], expected["instances"])
    if "panoptic_seg" in expected:
        assert torch.equal(found["panoptic_seg"][0], expected["panoptic_seg"][0])
        assert found["panoptic_seg"][1] == expected["panoptic_seg"][1]
    if "unfused" in expected:
        assert_same_outputs(found["unfused"], expected["unfused"])


def refining(cfg: CfgNode) -> None:
    cfg.MODEL.PANOPTIC_FUSION.NAME = "SemanticGuidedFusion"


def in_format_of_detectron2(cfg: CfgNode) -> None:
    cfg.MODEL.UNIFIED.OUTPUT = "detectron2"


KINDS = {f.__name__: f for f in (without_detector, without_semantic, without_masks, refining, in_format_of_detectron2)}


@pytest.mark.parametrize("kind", KINDS)
def test_one_scale_without_flip_equals_plain_inference(kind: str, eager_config: CfgNode) -> None:
    KINDS[kind](eager_config)
    eager_config.TEST.AUG.SCALES, eager_config.TEST.AUG.FLIP = [1.0], False
    plain, augmented = build(eager_config)
    for seed, size in enumerate(SIZES):
        image = smooth_image(*size, seed)
        expected = run(plain, plain_input(eager_config, image))
        # The model resizes the original itself; an image of the right size is not resized again.
        assert_same_outputs(run(augmented, {"image": image})[0], expected[0])
        assert_same_outputs(run(augmented, plain_input(eager_config, image))[0], expected[0])


@pytest.mark.parametrize("kind", KINDS)
def test_same_view_twice_equals_plain_inference(kind: str, eager_config: CfgNode) -> None:
    """Unlike a single view, this takes the path of several: means, merged boxes, masks of given boxes."""
    KINDS[kind](eager_config)
    eager_config.TEST.AUG.SCALES, eager_config.TEST.AUG.FLIP = [1.0, 1.0], False
    plain, augmented = build(eager_config)
    for seed, size in enumerate(SIZES[1:]):
        image = smooth_image(*size, seed)
        (expected,) = run(plain, plain_input(eager_config, image))
        (output,) = run(augmented, {"image": image})
        assert output.keys() == expected.keys()
        if "sem_seg" in expected:
            torch.testing.assert_close(output["sem_seg"].softmax(0), expected["sem_seg"].softmax(0))
        before, after = (each.get("unfused", each) for each in (expected, output))
        if "sem_seg_labels" in expected:
            assert (before["sem_seg_labels"] == after["sem_seg_labels"]).float().mean() > 0.999
        if "instances" in expected:
            assert_same_instances(after["instances"], before["instances"], exactly=False)
        if "panoptic_seg" in expected:
            assert (output["panoptic_seg"][0] == expected["panoptic_seg"][0]).float().mean() > 0.99


def test_limits_of_detections_are_those_of_the_config(eager_config: CfgNode) -> None:
    eager_config.MODEL.ROI_HEADS.NMS_THRESH_TEST, eager_config.TEST.DETECTIONS_PER_IMAGE = 0.3, 7
    _, augmented = build(eager_config)
    assert (augmented.nms_threshold, augmented.detections_per_image) == (0.3, 7)


def test_semantic_map_is_the_mean_of_probabilities() -> None:
    model = point_model()
    rule = ViewRule(scales=[0.5, 1.0, 1.7], flip=True)
    augmented = AugmentedSegmentor(model, rule=rule, nms_threshold=0.5, detections_per_image=10).eval()
    image, output_size = smooth_image(45, 71, 0), (50, 83)
    (output,) = run(augmented, {"image": image, "height": 50, "width": 83})
    probabilities = []
    for view in rule.make_views((45, 71)):
        pixels = (view.apply_image(image) - model.pixel_mean) / model.pixel_std
        padded = F.pad(pixels, (0, -view.size[1] % 8, 0, -view.size[0] % 8))
        logits = model.backbone.conv(padded[None])[0].detach()
        logits = LogitMap.from_logits(logits, 4, view.size).logits(output_size)
        probabilities.append((logits.flip(2) if view.mirrored else logits).softmax(0))
    assert len(probabilities) == 6
    torch.testing.assert_close(output["sem_seg"].softmax(0), torch.stack(probabilities).mean(0))


class SymmetricBackbone(nn.Module):
    """A backbone with receptive fields of 12 x 12 pixels and mirror-symmetric weights."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        weight = torch.randn(classes, 3, 3, 3, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weight + weight.flip(3))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"point": F.conv2d(F.avg_pool2d(x, 4), self.weight, padding=1)}


def test_flip_has_no_effect_on_a_symmetric_model() -> None:
    model = point_model()
    model.backbone = SymmetricBackbone(19)
    model.output_format = "compact"
    plain, flipped = (
        AugmentedSegmentor(
            model, rule=ViewRule(scales=[1.0], flip=flip), nms_threshold=0.5, detections_per_image=10
        ).eval()
        for flip in (False, True)
    )
    # The width is a multiple of the stride; otherwise only one side would be padded.
    x = {"image": random_image(50, 96)}
    assert torch.equal(run(plain, x)[0]["sem_seg_labels"], run(flipped, x)[0]["sem_seg_labels"])
    mirrored = {"image": x["image"].flip(2)}
    assert torch.equal(run(plain, mirrored)[0]["sem_seg_labels"].flip(1), run(plain, x)[0]["sem_seg_labels"])


def test_mirrored_image_gives_the_mirrored_outputs(eager_config: CfgNode) -> None:
    """With any model, since it gets each image both ways."""
    refining(eager_config)
    eager_config.TEST.AUG.SCALES, eager_config.TEST.AUG.FLIP = [1.0, 1.5], True
    _, augmented = build(eager_config)
    image = smooth_image(64, 128, 3)
    (output,), (mirrored,) = run(augmented, {"image": image}), run(augmented, {"image": image.flip(2)})
    assert (output["sem_seg_labels"] == mirrored["sem_seg_labels"].flip(1)).float().mean() > 0.99
    found, other = output["unfused"]["instances"], mirrored["unfused"]["instances"]
    assert len(found) == len(other) > 0
    torch.testing.assert_close(found.scores, other.scores)
    # Sorted, since scores may tie.
    centers, other_centers = (each.pred_boxes.get_centers() for each in (found, other))
    torch.testing.assert_close(centers[:, 1].sort()[0], other_centers[:, 1].sort()[0], rtol=0, atol=1e-2)
    torch.testing.assert_close(centers[:, 0].sort()[0], (128 - other_centers[:, 0]).sort()[0], rtol=0, atol=1e-2)
    areas, other_areas = (each.pred_masks.areas().sum() for each in (found, other))
    torch.testing.assert_close(areas.float(), other_areas.float(), rtol=0.01, atol=0)


@pytest.mark.parametrize("with_masks", [True, False])
def test_instances_equal_those_of_detectron2(with_masks: bool, eager_config: CfgNode) -> None:
    without_semantic(eager_config)
    eager_config.MODEL.MASK_ON = with_masks
    eager_config.MODEL.UNIFIED.OUTPUT = "detectron2"
    eager_config.TEST.AUG.MIN_SIZES, eager_config.TEST.AUG.MAX_SIZE = (48, 80), 130
    eager_config.TEST.DETECTIONS_PER_IMAGE = 20
    model, augmented = build(eager_config)
    reference_config = resolve_config(eager_config.clone())
    reference_config.defrost()
    reference_config.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    reference = build_detectron2_model(reference_config).eval()
    reference.load_state_dict(model.state_dict())
    # One image at a time: Detectron2 pads the images of a batch to a common size, which changes the features.
    detectron2_model = GeneralizedRCNNWithTTA(reference_config, reference, batch_size=1)
    for seed, size in enumerate(SIZES):
        x = {"image": smooth_image(*size, seed), "height": size[0], "width": size[1]}
        with torch.no_grad():
            (expected,) = detectron2_model([dict(x)])
        assert_same_instances(run(augmented, x)[0]["instances"], expected["instances"], exactly=False)


def test_image_without_detections_has_empty_instances(eager_config: CfgNode) -> None:
    refining(eager_config)
    eager_config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.99
    eager_config.TEST.AUG.SCALES = [1.0]
    _, augmented = build(eager_config)
    (output,) = run(augmented, {"image": smooth_image(64, 128, 0)})
    assert len(output["unfused"]["instances"]) == 0 and output["panoptic_seg"][0].shape == (64, 128)


def test_batch_equals_its_images_one_by_one(eager_config: CfgNode) -> None:
    eager_config.TEST.AUG.SCALES = [0.5]
    _, augmented = build(eager_config)
    images = [{"image": smooth_image(*size, seed)} for seed, size in enumerate(SIZES)]
    for output, image in zip(run(augmented, *images), images, strict=True):
        assert_same_outputs(output, run(augmented, image)[0])


def test_windows_equal_whole_views() -> None:
    windows, whole = (point_model(window_size=window, output_format="compact") for window in (24, 0))
    rule = ViewRule(scales=[0.5, 1.5], flip=True)
    x = {"image": smooth_image(45, 70, 0)}
    (output,), (expected,) = (
        run(AugmentedSegmentor(model, rule=rule, nms_threshold=0.5, detections_per_image=10), x)
        for model in (windows, whole)
    )
    # Padded 24 x 40 and 72 x 112 pixels: windows at 0 x (0, 16), and at (0, 16, 32, 48) x (0, 16, 32, 48, 72, 88).
    assert windows.backbone.seen == [(24, 24)] * 2 * (2 + 4 * 7)
    assert (output["sem_seg_labels"] == expected["sem_seg_labels"]).float().mean() > 0.999


def test_masks_are_turned_on_again_after_an_error(eager_config: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    eager_config.TEST.AUG.SCALES = [1.0]
    plain, augmented = build(eager_config)
    run(augmented, {"image": smooth_image(64, 128, 0)})
    assert plain.roi_heads.mask_on
    monkeypatch.setattr(plain, "predict", lambda batch: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(augmented, {"image": smooth_image(64, 128, 0)})
    assert plain.roi_heads.mask_on


def test_off_returns_the_model_itself(tiny_config: CfgNode) -> None:
    model = build_model(tiny_config)
    assert add_test_augmentation(tiny_config, model) == (tiny_config, model)


def test_data_pipeline_does_not_resize(eager_config: CfgNode) -> None:
    cfg, augmented = add_test_augmentation(eager_config, build_model(eager_config))
    assert eager_config.INPUT.MIN_SIZE_TEST == 64 and isinstance(augmented, AugmentedSegmentor)
    image = random_image(90, 101)
    assert torch.equal(plain_input(cfg, image)["image"], image)


def test_other_models_are_refused(eager_config: CfgNode) -> None:
    eager_config.MODEL.META_ARCHITECTURE = "PanopticFPN"
    model = build_model(resolve_config(eager_config))
    with pytest.raises(ConfigError, match=r"TEST\.AUG\.ENABLED: .*PanopticFPN"):
        add_test_augmentation(eager_config, model)


def test_scale_without_a_pixel_is_refused(eager_config: CfgNode) -> None:
    eager_config.TEST.AUG.SCALES = [1.0, 0.001]
    with pytest.raises(ConfigError, match=r"TEST\.AUG\.SCALES: 0\.001"):
        add_test_augmentation(eager_config, build_model(eager_config))
