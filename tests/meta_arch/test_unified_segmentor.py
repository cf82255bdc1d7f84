from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from model_parts import without_detector, without_masks, without_semantic
from torch import nn

from unified_seg.config import ConfigError
from unified_seg.data.pipeline.loaders import build_train_loader
from unified_seg.data.pipeline.mapper import UnifiedMapper
from unified_seg.meta_arch import UnifiedSegmentor
from unified_seg.meta_arch.outputs import rescale_instances
from unified_seg.structures.box_masks import BoxMasks

SEMANTIC_LOSSES = {"loss_sem_seg"}
DETECTOR_LOSSES = {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_mask"}


def without_fusion(cfg: CfgNode) -> None:
    cfg.MODEL.PANOPTIC_FUSION.NAME = ""


def with_everything(cfg: CfgNode) -> None:
    pass


SUBSETS = {
    "panoptic": (with_everything, SEMANTIC_LOSSES | DETECTOR_LOSSES, {"sem_seg", "instances", "panoptic_seg"}),
    "semantic": (without_detector, SEMANTIC_LOSSES, {"sem_seg"}),
    "instance": (without_semantic, DETECTOR_LOSSES, {"instances"}),
    "both": (without_fusion, SEMANTIC_LOSSES | DETECTOR_LOSSES, {"sem_seg", "instances"}),
    "boxes": (without_masks, SEMANTIC_LOSSES | DETECTOR_LOSSES - {"loss_mask"}, {"sem_seg", "instances"}),
}


def build(cfg: CfgNode) -> UnifiedSegmentor:
    torch.manual_seed(0)
    model = build_model(cfg)
    assert isinstance(model, UnifiedSegmentor)
    return model


def training_batch(cfg: CfgNode, indices: tuple[int, ...]) -> list[dict[str, Any]]:
    records = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])
    mapper = UnifiedMapper(cfg, True)
    return [mapper(records[i]) for i in indices]


def validation_batch(cfg: CfgNode) -> list[dict[str, Any]]:
    mapper = UnifiedMapper(cfg, False)
    return [mapper(record) for record in DatasetCatalog.get(cfg.DATASETS.TEST[0])]


def eager_config(cfg: CfgNode) -> CfgNode:
    """An untrained detector's scores are near 1 / (T + 1): with these thresholds it still has detections."""
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.05
    cfg.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = 4
    return cfg


def assert_trains(model: nn.Module, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    losses = model.train()(batch)
    assert all(loss.isfinite() for loss in losses.values()), losses
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    return losses


@pytest.mark.parametrize("subset", SUBSETS)
def test_every_valid_combination_trains_and_predicts(subset: str, tiny_config: CfgNode) -> None:
    change, expected_losses, expected_outputs = SUBSETS[subset]
    change(tiny_config)
    model = build(tiny_config)
    batch = training_batch(tiny_config, (0, 1))
    assert assert_trains(model, batch).keys() == expected_losses
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    with torch.no_grad():
        outputs = model.eval()(validation_batch(tiny_config))
    assert len(outputs) == 2
    assert all(output.keys() == expected_outputs for output in outputs)
    if "instances" in expected_outputs:
        assert all(o["instances"].has("pred_masks") == tiny_config.MODEL.MASK_ON for o in outputs)


def test_batches_of_the_loader_train(tiny_config: CfgNode) -> None:
    model = build(tiny_config)
    assert_trains(model, next(iter(build_train_loader(tiny_config))))


def without(batch: list[dict[str, Any]], key: str, *indices: int) -> list[dict[str, Any]]:
    return [{k: v for k, v in x.items() if i not in indices or k != key} for i, x in enumerate(batch)]


def detector_losses(model: UnifiedSegmentor, batch: list[dict[str, Any]]) -> dict[str, float]:
    torch.manual_seed(0)  # the samplers of proposals
    return {name: loss.item() for name, loss in model.train()(batch).items() if name != "loss_sem_seg"}


def test_detector_is_trained_on_images_with_instances(tiny_config: CfgNode) -> None:
    tiny_config.INPUT.MIN_SIZE_TRAIN = (64, 64)  # images of one size: the batch pads none
    tiny_config.MODEL.FPN.NORM = tiny_config.MODEL.RESNETS.NORM = "FrozenBN"  # images do not affect each other
    model = build(tiny_config)
    batch = training_batch(tiny_config, (0, 1, 3))
    assert detector_losses(model, without(batch, "instances", 0, 2)) == pytest.approx(
        detector_losses(model, batch[1:2]), rel=1e-4
    )


def test_batch_without_instances_gives_the_detector_zero_gradients(tiny_config: CfgNode) -> None:
    model = build(tiny_config)
    batch = training_batch(tiny_config, (0, 1))
    losses = assert_trains(model, without(batch, "instances", 0, 1))
    assert losses.keys() == model(batch).keys()
    assert all(loss == 0 for name, loss in losses.items() if name != "loss_sem_seg")
    assert losses["loss_sem_seg"] > 0
    # All parameters have a gradient, as distributed training asks for; the detector's is zero.
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if name.startswith(("proposal_generator", "roi_heads")):
            assert not parameter.grad.any(), name


def test_detector_without_thing_classes_is_refused(tiny_config: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*tiny_config.DATASETS.TRAIN, *tiny_config.DATASETS.TEST):
        metadata = MetadataCatalog.get(name).__dict__
        for key in [key for key in metadata if key.startswith("thing_")]:
            monkeypatch.delitem(metadata, key)
    with pytest.raises(ValueError, match=r"MODEL\.ROI_HEADS\.NAME: .* no thing classes"):
        build(tiny_config)


INVALID = {
    "neither": (
        [("MODEL.PROPOSAL_GENERATOR.NAME", ""), ("MODEL.ROI_HEADS.NAME", ""), ("MODEL.SEM_SEG_HEAD.NAME", "")],
        "MODEL.ROI_HEADS.NAME, MODEL.SEM_SEG_HEAD.NAME: at least one",
    ),
    "half a detector": ([("MODEL.ROI_HEADS.NAME", "")], "MODEL.PROPOSAL_GENERATOR.NAME and MODEL.ROI_HEADS.NAME"),
    "fusion without semantic": ([("MODEL.SEM_SEG_HEAD.NAME", "")], "PANOPTIC_FUSION.NAME needs a detector and"),
    "fusion without masks": ([("MODEL.MASK_ON", False)], "set `MODEL.MASK_ON True`"),
    "unknown fusion": ([("MODEL.PANOPTIC_FUSION.NAME", "X")], "unknown fusion 'X'; known: .*ScoreOrderFusion"),
    "unknown head": ([("MODEL.SEM_SEG_HEAD.NAME", "X")], "unknown semantic head 'X'; known: ASPRefinementHead"),
    "unknown output": (
        [("MODEL.UNIFIED.OUTPUT", "X")],
        "MODEL.UNIFIED.OUTPUT must be one of detectron2, compact, got 'X'",
    ),
    "no BatchNorm": (
        [("MODEL.RESNETS.NORM", ""), ("MODEL.BACKBONE.FREEZE_BN_STATISTICS", True)],
        "no BatchNorm2d",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_combinations_are_refused(case: str, tiny_config: CfgNode) -> None:
    overrides, message = INVALID[case]
    tiny_config.merge_from_list([word for pair in overrides for word in pair])
    with pytest.raises(ValueError, match=message):
        build(tiny_config)


def test_model_without_a_training_set_is_refused(tiny_config: CfgNode) -> None:
    tiny_config.DATASETS.TRAIN = ()
    with pytest.raises(ConfigError, match=r"DATASETS\.TRAIN is empty"):
        build(tiny_config)


def test_means_and_deviations_may_be_whole_numbers(tiny_config: CfgNode) -> None:
    tiny_config.MODEL.PIXEL_MEAN, tiny_config.MODEL.PIXEL_STD = [100, 110, 120], [50, 50, 50]
    model = build(tiny_config).eval()
    with torch.no_grad():
        model([{"image": torch.zeros(3, 64, 128, dtype=torch.uint8)}])
    assert model.pixel_mean.flatten().tolist() == [100.0, 110.0, 120.0]


def test_numbers_of_classes_come_from_the_data_set(tiny_config: CfgNode) -> None:
    tiny_config.MODEL.SEM_SEG_HEAD.NUM_CLASSES, tiny_config.MODEL.ROI_HEADS.NUM_CLASSES = 3, 3
    model = build(tiny_config)
    assert model.sem_seg_head.num_classes == model.sem_seg_head.classifier.out_channels == 19
    assert model.roi_heads.num_classes == 8
    assert model.sem_seg_head.ignore_value == 255


def compare(full: dict[str, Any], compact: dict[str, Any], size: tuple[int, int]) -> None:
    assert full["sem_seg"].shape == (19, *size)
    assert compact["sem_seg_labels"].shape == size
    assert not compact["sem_seg_labels"].dtype.is_floating_point
    assert torch.equal(full["sem_seg"].argmax(0), compact["sem_seg_labels"].long())
    a, b = full["instances"], compact["instances"]
    assert isinstance(b.pred_masks, BoxMasks)
    assert a.pred_masks.shape == (len(a), *size) and a.pred_masks.dtype == torch.bool
    assert torch.equal(a.pred_masks, b.pred_masks.full())
    assert a.image_size == b.image_size == size
    assert torch.equal(a.pred_boxes.tensor, b.pred_boxes.tensor)
    assert torch.equal(a.scores, b.scores) and torch.equal(a.pred_classes, b.pred_classes)
    assert torch.equal(full["panoptic_seg"][0], compact["panoptic_seg"][0])
    assert full["panoptic_seg"][1] == compact["panoptic_seg"][1]
    ids, segments = compact["panoptic_seg"]
    assert ids.shape == size and ids.dtype == torch.int32
    assert {s["id"] for s in segments} == set(ids.unique().tolist()) - {0}
    for segment in segments:
        assert segment["area"] == int((ids == segment["id"]).sum())


@pytest.mark.parametrize("fusion", ["ScoreOrderFusion", "SemanticGuidedFusion"])
@pytest.mark.parametrize("size", [(64, 128), (37, 71), (150, 290)])
def test_both_output_formats_agree_at_any_size(size: tuple[int, int], fusion: str, tiny_config: CfgNode) -> None:
    tiny_config.MODEL.PANOPTIC_FUSION.NAME = fusion
    model = build(eager_config(tiny_config)).eval()
    batch = [{**x, "height": size[0], "width": size[1]} for x in validation_batch(tiny_config)]
    with torch.no_grad():
        full = model(batch)
        model.output_format = "compact"
        compact = model(batch)
    assert sum(len(output["instances"]) for output in full) > 0
    assert any(s["isthing"] for output in full for s in output["panoptic_seg"][1])
    for one, other in zip(full, compact, strict=True):
        compare(one, other, size)
    assert [("unfused" in output) for output in compact] == [fusion == "SemanticGuidedFusion"] * len(compact)
    assert not any("unfused" in output for output in full)


def test_unfused_equals_the_output_without_the_fusion(tiny_config: CfgNode) -> None:
    tiny_config.MODEL.UNIFIED.OUTPUT = "compact"
    tiny_config.MODEL.PANOPTIC_FUSION.NAME = "SemanticGuidedFusion"
    model = build(eager_config(tiny_config)).eval()
    batch = validation_batch(tiny_config)
    with torch.no_grad():
        fused = model(batch)
        model.panoptic_fusion = None
        plain = model(batch)
    for output, expected in zip(fused, plain, strict=True):
        assert torch.equal(output["unfused"]["sem_seg_labels"], expected["sem_seg_labels"])
        before, after = output["unfused"]["instances"], output["instances"]
        assert torch.equal(before.pred_masks.full(), expected["instances"].pred_masks.full())
        assert torch.equal(before.pred_boxes.tensor, expected["instances"].pred_boxes.tensor)
        # The detections stay, in their order; found instances follow with boxes around their masks.
        assert torch.equal(after.scores[: len(before)], before.scores)
        assert after.found.sum() == len(after) - len(before)
        assert not after.found[: len(before)].any() and (after.scores[len(before) :] == 0).all()
    assert any(not torch.equal(o["unfused"]["sem_seg_labels"], o["sem_seg_labels"]) for o in fused)


def test_outputs_without_a_given_size_have_the_inputs_size(tiny_config: CfgNode) -> None:
    without_detector(tiny_config)
    with torch.no_grad():
        (output,) = build(tiny_config).eval()([{"image": torch.zeros(3, 50, 70, dtype=torch.uint8)}])
    assert output["sem_seg"].shape == (19, 50, 70)


@pytest.mark.parametrize("indices", [(0, 2), (2, 2), (3, 2), (2,)])
def test_images_and_batches_without_instances_train(indices: tuple[int, ...], tiny_config: CfgNode) -> None:
    batch = training_batch(tiny_config, indices)
    # Image 2 has no instance, image 3 only a crowd.
    assert [len(x["instances"]) for x in batch] == [3 if i == 0 else 0 for i in indices]
    model = build(tiny_config)
    assert_trains(model, batch)
    # Several processes would wait for a parameter without a gradient.
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_crops_without_labels_give_no_semantic_loss(tiny_config: CfgNode) -> None:
    model = build(tiny_config)
    batch = training_batch(tiny_config, (0, 2))
    for x in batch:
        x["sem_seg"] = torch.full_like(x["sem_seg"], 255)
    losses = assert_trains(model, batch)
    assert losses["loss_sem_seg"] == 0
    assert all(not p.grad.any() for p in model.sem_seg_head.parameters())


def test_padding_does_not_change_the_loss(tiny_config: CfgNode) -> None:
    # The same image, alone at a size divisible by 32 and beside a larger, wholly unlabeled one: BatchNorm aside
    # (inference statistics), the padding must add no pixel to the mean.
    without_detector(tiny_config)
    model = build(tiny_config).eval()
    generator = torch.Generator().manual_seed(1)
    small = {
        "image": torch.randint(0, 256, (3, 60, 100), generator=generator).byte(),
        "sem_seg": torch.randint(0, 19, (60, 100), generator=generator),
    }
    padded = {
        "image": small["image"],
        "sem_seg": torch.nn.functional.pad(small["sem_seg"], (0, 28, 0, 4), value=255),
    }
    with torch.no_grad():
        assert model._semantic_targets([small]).shape == (1, 64, 128)
        assert torch.equal(model._semantic_targets([small])[0], padded["sem_seg"])
        assert torch.equal(model.losses([small])["loss_sem_seg"], model.losses([padded])["loss_sem_seg"])


def test_size_divisibility_suits_backbone_and_head(tiny_config: CfgNode) -> None:
    # An FPN halves down to stride 32, cells of 24 pixels need multiples of 24: together 96, which neither is alone.
    without_detector(tiny_config)
    tiny_config.MODEL.SEM_SEG_HEAD.NAME = "PyramidalOutputHead"
    tiny_config.MODEL.SEM_SEG_HEAD.PYRAMID.STRIDES = [24, 12, 4]
    model = build(tiny_config)
    assert model.size_divisibility == 96
    assert_trains(model, training_batch(tiny_config, (0, 2)))


def test_frozen_statistics_do_not_change_in_training(tiny_config: CfgNode) -> None:
    without_detector(tiny_config)
    plain = build(tiny_config)
    tiny_config.MODEL.BACKBONE.FREEZE_BN_STATISTICS = True
    model = build(tiny_config)
    assert list(model.state_dict()) == list(plain.state_dict())
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        assert_trains(model, training_batch(tiny_config, (0, 1)))
        optimizer.step()
        model.eval()
    after = model.backbone.state_dict()
    statistics = [name for name in before if "running" in name or "batches" in name]
    assert statistics and all(torch.equal(before[name], after[name]) for name in statistics)
    affine = [name for name in before if "norm" in name and name not in statistics]
    assert affine and all(not torch.equal(before[name], after[name]) for name in affine)


def test_rescaled_instances_match_hand_computed_boxes() -> None:
    # From 10x20 to 20x60: y doubles, x triples. The second box lies right of the input and has no inside when clipped.
    raw = Instances((10, 20))
    raw.pred_boxes = Boxes(torch.tensor([[2.0, 3.0, 6.0, 8.0], [21.0, 0.0, 30.0, 5.0]]))
    raw.scores = torch.tensor([0.9, 0.8])
    raw.pred_masks = torch.ones(2, 1, 28, 28)
    result, soft_masks = rescale_instances(raw, (20, 60))
    assert soft_masks is None
    assert result.image_size == (20, 60)
    assert result.pred_boxes.tensor.tolist() == [[6.0, 6.0, 18.0, 16.0]]
    expected = torch.zeros(1, 20, 60, dtype=torch.bool)
    expected[0, 6:16, 6:18] = True
    assert torch.equal(result.pred_masks.full(), expected)
    assert raw.pred_boxes.tensor[0].tolist() == [2.0, 3.0, 6.0, 8.0]
