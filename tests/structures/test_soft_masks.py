import numpy as np
import pytest
import torch
from benchmarks.pretend_device import DEVICE, PretendDevice
from detectron2.layers import paste_masks_in_image

from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.soft_masks import SoftMasks

SIZE = (30, 40)


def make_detections(count: int = 6, side: int = 28) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 30, (count, 2, 2)), axis=1).reshape(count, 4)
    return torch.from_numpy(rng.random((count, side, side)).astype(np.float32)), torch.from_numpy(corners).float()


@pytest.mark.parametrize("device", ["cpu", DEVICE])
def test_levels_of_a_half_and_more_are_the_masks(device: str) -> None:
    soft, boxes = make_detections()
    expected = BoxMasks.from_soft(soft, boxes, SIZE)
    with PretendDevice():
        masks = SoftMasks.from_soft(soft.to(device), boxes.to(device), SIZE)
        assert torch.equal(masks.binarize().full().cpu(), expected.full())
        for index in range(len(masks)):
            assert torch.equal((masks.levels(index) >= 128).cpu(), expected.masks[index])


def test_levels_are_pasted_as_detectron2_pastes() -> None:
    soft, boxes = make_detections()
    masks = SoftMasks.from_soft(soft, boxes, SIZE)
    pasted = paste_masks_in_image(soft, boxes, SIZE, threshold=-1)  # floor(255 p)
    for index, (x0, y0, x1, y1) in enumerate(masks.windows.tolist()):
        expected = pasted[index, y0:y1, x0:x1].float() / 255
        assert ((masks.levels(index).float() + 0.5) / 256 - expected).abs().max() < 2 / 255


def test_cells_are_the_sides_of_what_a_mask_resolves() -> None:
    boxes = torch.tensor([[0.0, 0.0, 28.0, 7.0]])  # cells of 1 x 0.25
    assert SoftMasks.from_soft(torch.rand(1, 28, 28), boxes, SIZE).cells.tolist() == [0.5]
    inverted = torch.tensor([[4.0, 0.0, 2.0, 7.0]])
    assert SoftMasks.from_soft(torch.rand(1, 28, 28), inverted, SIZE).cells.tolist() == [0.0]


def test_chosen_masks_keep_windows_levels_and_cells() -> None:
    soft, boxes = make_detections()
    masks = SoftMasks.from_soft(soft, boxes, SIZE)
    for item in ([4, 1], torch.tensor([4, 1]), torch.tensor([False, True, False, False, True, False])):
        chosen = masks[item]
        order = [1, 4] if isinstance(item, torch.Tensor) and item.dtype == torch.bool else [4, 1]
        assert torch.equal(chosen.windows, masks.windows[order]) and torch.equal(chosen.cells, masks.cells[order])
        assert all(torch.equal(chosen.levels(i), masks.levels(j)) for i, j in enumerate(order))
    assert len(masks[[]]) == 0 and len(masks[:2]) == 2
    assert [positions for _, positions, _ in masks[[4, 1]].by_stack()] == [[0], [1]]


def test_cat_keeps_the_levels_of_every_part() -> None:
    soft, boxes = make_detections()
    whole = SoftMasks.from_soft(soft, boxes, SIZE)
    joined = SoftMasks.cat([SoftMasks.from_soft(soft[i], boxes[i], SIZE) for i in (slice(2), slice(2, 6))], SIZE)
    assert torch.equal(joined.windows, whole.windows) and torch.equal(joined.cells, whole.cells)
    assert all(torch.equal(joined.levels(i), whole.levels(i)) for i in range(6))


def test_hard_masks_are_certain() -> None:
    full = torch.zeros(1, 4, 5, dtype=torch.bool)
    full[0, 1:3, 2:4] = True
    full[0, 1, 2] = False
    hard = BoxMasks.from_full(full)
    masks = SoftMasks.from_masks(hard)
    assert masks.levels(0).tolist() == [[0, 255], [255, 255]] and masks.cells.tolist() == [1.0]
    assert torch.equal(masks.binarize().full(), hard.full())
    assert len(SoftMasks.from_masks(hard[[]]).binarize()) == 0
