from unittest.mock import patch

import numpy as np
import pytest
import torch
from benchmarks.pretend_device import DEVICE, PretendDevice
from detectron2.data.catalog import Metadata
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.layers import paste_masks_in_image
from detectron2.structures import Boxes, Instances
from detectron2.utils.visualizer import ColorMode, Visualizer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unified_seg.structures import mask_maps
from unified_seg.structures.box_masks import BoxMasks

SIZE = (24, 37)


def soft_masks(count: int, side: int, seed: int = 0) -> Tensor:
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(seed))


def a_box(draw: st.DrawFn, whole: bool) -> list[float]:
    length = st.sampled_from([0.01, 0.4, 1.0, 3.0, 17.0, 60.0]) if not whole else st.integers(1, 50)
    start = st.integers(-10, 40) if whole else st.floats(-10, 40, width=32)
    x, y = draw(start), draw(start)
    return [x, y, x + draw(length), y + draw(length)]


@st.composite
def any_boxes(draw: st.DrawFn) -> Tensor:
    """Draw boxes of all sizes, at any position, partly outside; Detectron2 rejects those wholly outside."""
    boxes = [a_box(draw, draw(st.booleans())) for _ in range(draw(st.integers(1, 4)))]
    tensor = torch.tensor(boxes, dtype=torch.float32)
    clipped = Boxes(tensor.clone())
    clipped.clip(SIZE)
    return (clipped.tensor if draw(st.booleans()) else tensor)[clipped.nonempty()]


@settings(max_examples=150, deadline=None)
@given(boxes=any_boxes(), side=st.sampled_from([1, 2, 7, 28]), seed=st.integers(0, 1000))
def test_from_soft_equals_pasting(boxes: Tensor, side: int, seed: int) -> None:
    soft = soft_masks(len(boxes), side, seed)
    pasted = paste_masks_in_image(soft, boxes, SIZE).bool()
    assert torch.equal(BoxMasks.from_soft(soft, boxes, SIZE).full(), pasted)


@settings(max_examples=60, deadline=None)
@given(boxes=any_boxes(), side=st.sampled_from([1, 7, 28]), seed=st.integers(0, 99), values=st.sampled_from([1, 2**23]))
def test_a_device_has_the_same_masks(boxes: Tensor, side: int, seed: int, values: int) -> None:
    """In one stack or in several, through every method that moves or reads masks."""
    soft = soft_masks(len(boxes), side, seed)
    expected = BoxMasks.from_soft(soft, boxes, SIZE)
    with PretendDevice(), patch.object(mask_maps, "STACK_VALUES", values):
        masks = BoxMasks.from_soft(soft.to(DEVICE), boxes.to(DEVICE), SIZE)
        for same in (masks, expected.to(DEVICE), masks.to(DEVICE), masks.on_maps()):
            assert same.device == DEVICE and torch.equal(same.windows, expected.windows)
            assert torch.equal(same.full().cpu(), expected.full())
            assert torch.equal(same.areas().cpu(), expected.areas())
            back = same.to("cpu")
            assert all(torch.equal(mask, other) for mask, other in zip(back.masks, expected.masks, strict=True))
        reverse = slice(None, None, -1)
        joined = BoxMasks.cat([masks[reverse], expected.to(DEVICE)])
        assert torch.equal(joined.full().cpu(), torch.cat([expected[reverse].full(), expected.full()]))


@pytest.mark.parametrize("probability", [0.5, 1.0])
def test_constant_soft_mask_fills_its_box(probability: float) -> None:
    # The samples are bilinear with zeros outside: at the centers inside a box of 4x4, a mask of 4x4 is read at its
    # own centers, so the 16 pixels have its value, and those outside are 0.
    masks = BoxMasks.from_soft(torch.full((1, 4, 4), probability), torch.tensor([[3.0, 5.0, 7.0, 9.0]]), SIZE)
    expected = torch.zeros(1, *SIZE, dtype=torch.bool)
    expected[0, 5:9, 3:7] = True
    assert torch.equal(masks.full(), expected)
    assert masks.areas().tolist() == [16]


@pytest.mark.parametrize("box", [[-9.0, -9.0, -1.5, -2.0], [40.0, 5.0, 50.0, 9.0], [5.0, 24.5, 9.0, 30.0]])
def test_box_outside_the_image_has_no_pixels(box: list[float]) -> None:
    masks = BoxMasks.from_soft(torch.ones(1, 28, 28), torch.tensor([box]), SIZE)
    assert masks.areas().tolist() == [0]
    assert not masks.full().any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.integers(0, 99))
def test_from_full_and_full_are_inverse(count: int, height: int, width: int, density: float, seed: int) -> None:
    full = torch.rand(count, height, width, generator=torch.Generator().manual_seed(seed)) < density
    masks = BoxMasks.from_full(full)
    assert torch.equal(masks.full(), full)
    assert torch.equal(masks.areas(), full.sum((1, 2)))
    for (window, mask), whole in zip(masks.crops(), full, strict=True):
        assert torch.equal(whole[window], mask)
        # The window is tight: each of its borders has a pixel of the mask.
        assert not mask.numel() or all(edge.any() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def test_detectron2_reads_the_masks_of_instances_as_it_reads_a_tensor() -> None:
    masks = three()
    fields = {
        "pred_boxes": Boxes(masks.windows.float()),
        "scores": torch.rand(3),
        "pred_classes": torch.tensor([0] * 3),
    }
    cropped, full = Instances(masks.image_size, **fields), Instances(masks.image_size, **fields)
    cropped.pred_masks, full.pred_masks = masks, masks.full()
    assert instances_to_coco_json(cropped, 7) == instances_to_coco_json(full, 7)
    metadata = Metadata(thing_classes=["car"], thing_colors=[(9, 99, 199)])
    drawn = []
    for each in (cropped, full):
        np.random.seed(0)  # of the jitter of colors
        visualizer = Visualizer(np.zeros((6, 8, 3), np.uint8), metadata, instance_mode=ColorMode.SEGMENTATION)
        drawn.append(visualizer.draw_instance_predictions(each).get_image())
    assert np.array_equal(*drawn) and drawn[0].any()
    both = Instances.cat([cropped, cropped[1:]])
    assert torch.equal(torch.stack(list(both.pred_masks)), full.pred_masks[[0, 1, 2, 1, 2]])
    assert np.array_equal(np.asarray(masks), full.pred_masks.numpy())


def three() -> BoxMasks:
    full = torch.zeros(3, 6, 8, dtype=torch.bool)
    full[0, 1:3, 1:4] = full[1, 0:5, 6:8] = full[2, 5, 0] = True  # areas 6, 10, 1
    return BoxMasks.from_full(full)


@pytest.mark.parametrize(
    ("item", "areas"),
    [
        (1, [10]),
        (-1, [1]),
        (slice(1, None), [10, 1]),
        (slice(None, None, -1), [1, 10, 6]),
        ([2, 0], [1, 6]),
        (torch.tensor([2, 0, 0]), [1, 6, 6]),
        (np.array([True, False, True]), [6, 1]),
        (torch.tensor([False, False, False]), []),
        ([], []),
    ],
)
def test_indexing_selects_masks(item: object, areas: list[int]) -> None:
    masks = three()[item]  # type: ignore[index]
    assert isinstance(masks, BoxMasks)
    assert len(masks) == len(areas)
    assert masks.areas().tolist() == areas
    assert masks.full().shape == (len(areas), 6, 8)


def test_masks_are_a_field_of_instances() -> None:
    instances = Instances((6, 8), scores=torch.tensor([0.9, 0.2, 0.7]), pred_masks=three())
    kept = instances[instances.scores > 0.5].to("cpu")
    assert len(kept) == 2
    assert kept.pred_masks.areas().tolist() == [6, 1]
    assert instances[1].pred_masks.areas().tolist() == [10]


def test_no_masks_have_empty_shapes() -> None:
    for masks in (
        BoxMasks.from_full(torch.zeros(0, 6, 8, dtype=torch.bool)),
        BoxMasks.from_soft(torch.zeros(0, 28, 28), torch.zeros(0, 4), (6, 8)),
    ):
        assert len(masks) == 0 and list(masks) == []
        assert masks.full().shape == (0, 6, 8)
        assert masks.areas().shape == (0,)
        assert masks.windows.shape == (0, 4)


def test_different_numbers_of_windows_and_masks_are_an_error() -> None:
    with pytest.raises(ValueError, match="1 windows and 2 masks"):
        BoxMasks(torch.zeros(1, 4, dtype=torch.int64), [torch.zeros(1, 1)] * 2, (4, 4))


def test_cat_concatenates_masks() -> None:
    full = torch.rand(3, 5, 6) > 0.6
    parts = [BoxMasks.from_full(full[:2]), BoxMasks.from_full(full[:0]), BoxMasks.from_full(full[2:])]
    joined = BoxMasks.cat(parts)
    assert torch.equal(joined.full(), full)
    assert joined.image_size == (5, 6)
    # As a field of Instances.
    pair = [Instances((5, 6), pred_masks=part) for part in parts]
    assert torch.equal(Instances.cat(pair).pred_masks.full(), full)
    with pytest.raises(ValueError, match=r"one image size, got \[\(5, 6\), \(6, 5\)\]"):
        BoxMasks.cat([parts[0], BoxMasks.from_full(full.transpose(1, 2))])
