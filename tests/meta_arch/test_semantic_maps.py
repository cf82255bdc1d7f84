"""The further maps of a semantic head in the outputs of an image."""

from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from model_parts import without_detector
from point_model import point_model, random_image
from torch import Tensor
from torch.nn.functional import max_pool2d

from unified_seg.heads.base import SemanticPrediction
from unified_seg.inference import AugmentedSegmentor
from unified_seg.inference.augmentation import add_test_augmentation
from unified_seg.meta_arch import UnifiedSegmentor, build_model
from unified_seg.structures.cell_map import CellMap

STRIDES = (32, 16, 8, 4)
THRESHOLD = 0.4  # near the probabilities of an untrained network
SIZES = [(50, 70), (33, 100)]


@pytest.fixture
def config(tiny_config: CfgNode) -> CfgNode:
    """The config of a pyramidal output without a detector."""
    cfg = tiny_config
    without_detector(cfg)
    cfg.MODEL.UNIFIED.OUTPUT = "compact"
    head = cfg.MODEL.SEM_SEG_HEAD
    head.NAME, head.PYRAMID.UNITY_DIM, head.PYRAMID.THRESHOLD = "PyramidalOutputHead", 16, THRESHOLD
    return cfg


def build(cfg: CfgNode) -> UnifiedSegmentor:
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    assert isinstance(model, UnifiedSegmentor)
    return model


def batch(sizes: list[tuple[int, int]]) -> list[dict[str, Any]]:
    return [{"image": random_image(*size, seed=i), "height": 64, "width": 90} for i, size in enumerate(sizes)]


@torch.no_grad()
def infer(model: torch.nn.Module, sizes: list[tuple[int, int]]) -> list[dict[str, Any]]:
    return model(batch(sizes))


def repeat_to_finest(cells: CellMap, like: Tensor) -> Tensor:
    """Return the cells repeated to stride 4."""
    factor = cells.stride // 4
    return cells.values.repeat_interleave(factor, 0).repeat_interleave(factor, 1)[: like.shape[0], : like.shape[1]]


def test_maps_agree_with_the_logits_of_each_image(config: CfgNode) -> None:
    """With sizes that are padded to the common one and to a multiple of 32."""
    model = build(config)
    outputs = infer(model, SIZES)
    with torch.no_grad():
        logits = [prediction.semantic.to_memory() for prediction in model.predict(batch(SIZES))]
    found_levels = set()
    for (height, width), output, whole in zip(SIZES, outputs, logits, strict=True):
        maps = output["semantic_maps"]
        assert maps.keys() == {"levels"} | {f"unity_{s}" for s in STRIDES[:-1]} | {f"labels_{s}" for s in STRIDES}
        assert all(cells.input_size == (height, width) for cells in maps.values())
        for stride in STRIDES:
            labels = maps[f"labels_{stride}"]
            assert labels.stride == stride and labels.values.dtype == torch.uint8
            assert labels.values.shape == (-(-height // stride), -(-width // stride))
        levels = maps["levels"].values
        assert levels.dtype == torch.uint8 and maps["levels"].stride == 4
        expected = torch.full_like(levels, 3)
        for level in (2, 1, 0):
            unity = maps[f"unity_{STRIDES[level]}"]
            assert unity.stride == STRIDES[level] and unity.values.dtype == torch.float32
            expected[repeat_to_finest(unity, levels) >= THRESHOLD] = level
        assert torch.equal(levels, expected)
        _, grid = next(whole.bands())
        winners = grid.argmax(0)[: levels.shape[0], : levels.shape[1]]
        for level, stride in enumerate(STRIDES):
            here = levels == level
            assert torch.equal(repeat_to_finest(maps[f"labels_{stride}"], levels)[here].long(), winners[here])
        found_levels |= set(levels.unique().tolist())
    assert len(found_levels) > 1  # else the test would be weak


def test_levels_are_read_at_the_original_size(config: CfgNode) -> None:
    output = infer(build(config), SIZES[:1])[0]
    levels = output["semantic_maps"]["levels"]
    assert output["sem_seg_labels"].shape == levels.read((64, 90)).shape == (64, 90)
    # The last pixel's center is inside the last cell that holds a pixel of the image.
    assert levels.read((64, 90))[-1, -1] == levels.values[-1, -1]


@pytest.mark.parametrize(
    "overrides",
    [
        ["MODEL.UNIFIED.OUTPUT", "detectron2"],
        ["TEST.WINDOW.SIZE", 64],
        ["MODEL.SEM_SEG_HEAD.PYRAMID.OUTPUT", "finest"],
        ["MODEL.SEM_SEG_HEAD.PYRAMID.OUTPUT", "single"],
        ["MODEL.SEM_SEG_HEAD.NAME", "ASPRefinementHead"],
    ],
)
def test_outputs_without_maps_lack_the_key(config: CfgNode, overrides: list[Any]) -> None:
    config.merge_from_list(overrides)
    assert all("semantic_maps" not in output for output in infer(build(config), SIZES))


def test_images_no_larger_than_the_window_have_maps(config: CfgNode) -> None:
    config.TEST.WINDOW.SIZE = 128
    assert all("semantic_maps" in output for output in infer(build(config), SIZES))


def test_several_views_have_no_maps(config: CfgNode) -> None:
    config.TEST.AUG.ENABLED, config.INPUT.MIN_SIZE_TEST = True, 50
    for scales, flip in (([1.0], False), ([1.0], True), ([1.0, 1.5], False)):
        config.TEST.AUG.SCALES, config.TEST.AUG.FLIP = scales, flip
        model = add_test_augmentation(config, build(config))[1]
        assert isinstance(model, AugmentedSegmentor)
        one = scales == [1.0] and not flip
        assert all(("semantic_maps" in output) is one for output in infer(model, SIZES))


def test_maps_of_any_stride_are_cut_to_the_image() -> None:
    """The head of the point model has logits of stride 4, its input has sides of multiples of 8."""

    def describe(prediction: SemanticPrediction) -> dict[str, Tensor]:
        largest = prediction.logits.amax(1)
        return {"largest": largest, "coarse": largest[:, ::2, ::2]}

    model = point_model(output_format="compact")
    model.sem_seg_head.describe = describe
    output = infer(model, [(21, 37)])[0]
    assert {name: cells.stride for name, cells in output["semantic_maps"].items()} == {"largest": 4, "coarse": 8}
    largest, coarse = output["semantic_maps"].values()
    assert largest.values.shape == (6, 10) and torch.equal(coarse.values, largest.values[::2, ::2])


def test_logit_maps_are_read_at_the_original_size(correcting_config: CfgNode) -> None:
    """Before the correction the labels are those of the base head alone."""
    resnet = correcting_config.MODEL.RESNETS
    resnet.DEPTH, resnet.STEM_OUT_CHANNELS, resnet.RES2_OUT_CHANNELS = 18, 64, 64  # predicts errors at some cells only
    model = build(correcting_config)
    corrected = infer(model, SIZES)
    model.sem_seg_head = model.sem_seg_head.base
    for (height, width), output, alone in zip(SIZES, corrected, infer(model, SIZES), strict=True):
        maps = output["semantic_logit_maps"]
        assert maps.keys() == {"uncorrected", "error", "error_unbalanced"}
        assert all((m.stride, m.input_size) == (4, (height, width)) for m in maps.values())
        assert torch.equal(maps["uncorrected"].labels((64, 90)), alone["sem_seg_labels"])
        _, logits = next(maps["error"].bands())
        wrong = CellMap.from_padded(logits[0] > 0, 4, (height, width)).read((64, 90))
        # Cells are corrected; pixels between them and others, of some five pixels each, are of both.
        changed = output["sem_seg_labels"] != alone["sem_seg_labels"]
        near = max_pool2d(wrong[None].float(), 13, stride=1, padding=6)[0] > 0
        assert changed.any() and not (changed & ~near).any() and not near.all()
        assert "semantic_logit_maps" not in alone


@pytest.mark.parametrize("overrides", [["MODEL.UNIFIED.OUTPUT", "detectron2"], ["TEST.WINDOW.SIZE", 64]])
def test_outputs_without_logit_maps_lack_the_key(correcting_config: CfgNode, overrides: list[Any]) -> None:
    correcting_config.merge_from_list(overrides)
    assert all("semantic_logit_maps" not in output for output in infer(build(correcting_config), SIZES))
