import pickle

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Instances

from unified_seg.data.pipeline.shared_masks import SharedMasks

SIZE = (30, 40)


def draw(count: int, seed: int = 0) -> tuple[list[tuple[int, int, np.ndarray]], torch.Tensor]:
    """Masks in windows that overlap, and the same in full."""
    random = np.random.default_rng(seed)
    windows, full = [], np.zeros((count, *SIZE), dtype=bool)
    for canvas in full:
        height, width = random.integers(1, 12, 2)
        top, left = random.integers(0, SIZE[0] - height + 1), random.integers(0, SIZE[1] - width + 1)
        mask = random.random((height, width)) < 0.8
        canvas[top : top + height, left : left + width] = mask
        windows.append((int(top), int(left), mask))
    return windows, torch.from_numpy(full)


@pytest.mark.parametrize("count", [0, 1, 7, 256])
def test_masks_are_those_of_the_windows(count: int) -> None:
    windows, full = draw(count)
    masks = SharedMasks.from_windows(windows, SIZE)
    assert torch.equal(masks.tensor, full) and len(masks) == count
    assert masks.tensor.shape == (count, *SIZE) and masks.tensor.dtype == torch.bool
    if count:
        assert torch.equal(masks.get_bounding_boxes().tensor, BitMasks(full).get_bounding_boxes().tensor)
        assert torch.equal(masks.nonempty(), BitMasks(full).nonempty())


def test_masks_without_a_common_pixel_share_a_map() -> None:
    square = np.ones((3, 3), dtype=bool)
    masks = SharedMasks.from_windows([(0, 0, square), (3, 0, square), (2, 2, square), (0, 3, square)], SIZE)
    assert masks.places.tolist() == [[0, 1], [0, 2], [1, 3], [0, 4]]
    assert masks.maps.shape == (2, *SIZE)


@pytest.mark.parametrize("item", [2, slice(1, 4), torch.tensor([3, 0, 0, 3]), torch.tensor([True, False] * 3)])
def test_chosen_masks_are_those_of_detectron2(item: object) -> None:
    windows, full = draw(6)
    masks, peer = SharedMasks.from_windows(windows, SIZE), BitMasks(full)
    chosen, expected = masks[item][:2], peer[item][:2]
    assert torch.equal(chosen.tensor, expected.tensor)
    boxes = torch.tensor([[2.5, 1.0, 30.2, 25.0], [-3.0, 5.5, 12.0, 40.0]])[: len(chosen)]
    assert torch.equal(chosen.crop_and_resize(boxes, 14), expected.crop_and_resize(boxes, 14))


def test_masks_survive_instances_and_processes() -> None:
    windows, full = draw(5)
    instances = Instances(SIZE, gt_masks=SharedMasks.from_windows(windows, SIZE))
    index = torch.tensor([4, 4, 1])
    copy = pickle.loads(pickle.dumps(instances[index])).to("cpu")
    assert torch.equal(copy.gt_masks.tensor, full[index])
    assert torch.equal(torch.stack(list(copy.gt_masks)), full[index])
