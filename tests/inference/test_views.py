import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.config import ConfigError
from unified_seg.inference.views import View, ViewRule


def random_image(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8))


def test_view_of_the_same_size_is_the_image() -> None:
    image = random_image(17, 23)
    assert torch.equal(View((17, 23)).apply_image(image), image)
    assert torch.equal(View((17, 23), mirrored=True).apply_image(image), image.flip(2))


@pytest.mark.parametrize("size", [(64, 40), (9, 50), (1, 1)])
def test_views_are_resized_as_in_the_data_pipeline(size: tuple[int, int]) -> None:
    image = random_image(33, 47)
    pixels = T.ResizeTransform(33, 47, *size).apply_image(image.permute(1, 2, 0).numpy()).copy()
    assert torch.equal(View(size).apply_image(image), torch.from_numpy(pixels).permute(2, 0, 1))
    flipped = T.HFlipTransform(size[1]).apply_image(pixels).copy()
    assert torch.equal(View(size, mirrored=True).apply_image(image), torch.from_numpy(flipped).permute(2, 0, 1))


def test_boxes_are_scaled_and_mirrored() -> None:
    # Of 100 x 200 pixels, half as large: x0, y0, x1, y1 halve. Mirrored, columns 10 to 20 of 100 are 80 to 90.
    box = torch.tensor([[20.0, 40.0, 40.0, 60.0]])
    assert View((50, 100)).apply_boxes(box, (100, 200)).tolist() == [[10, 20, 20, 30]]
    assert View((50, 100), mirrored=True).apply_boxes(box, (100, 200)).tolist() == [[80, 20, 90, 30]]
    assert View((50, 100), mirrored=True).invert_boxes(torch.tensor([[80.0, 20, 90, 30]]), (100, 200)).tolist() == [
        [20, 40, 40, 60]
    ]
    # Rows and columns have factors of their own.
    assert View((300, 100)).apply_boxes(box, (100, 200)).tolist() == [[10, 120, 20, 180]]


@settings(max_examples=50, deadline=None)
@given(st.tuples(st.integers(1, 99), st.integers(1, 99)), st.booleans(), st.integers(0, 99))
def test_inverted_boxes_are_the_original(size: tuple[int, int], mirrored: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    corners = np.sort(random.uniform(0, 60, (5, 2, 2)), axis=1).reshape(5, 4)
    boxes, view = torch.from_numpy(corners).float(), View(size, mirrored)
    there = view.apply_boxes(boxes, (60, 60))
    assert (there[:, 2:] >= there[:, :2]).all()
    torch.testing.assert_close(view.invert_boxes(there, (60, 60)), boxes, rtol=1e-4, atol=1e-3)


def test_scales_multiply_the_plain_size() -> None:
    # 200 x 500 at a shorter side of 100 is 100 x 250; of 240 at most, 96 x 240.
    rule = ViewRule(scales=[0.5, 1, 1.75], plain_min_size=100, plain_max_size=240)
    assert rule.make_views((200, 500)) == [View((48, 120)), View((96, 240)), View((168, 420))]
    # Without a plain size the image has its own.
    assert ViewRule(scales=[0.5]).make_views((201, 500)) == [View((101, 250))]


def test_scale_one_is_the_plain_size() -> None:
    rule = ViewRule(scales=[1.0], plain_min_size=64, plain_max_size=100)
    for size in ((64, 128), (37, 71), (999, 31), (50, 50)):
        pixels = np.zeros((*size, 3), dtype=np.uint8)
        plain = T.ResizeShortestEdge(64, 100, "choice").get_transform(pixels).apply_image(pixels)
        assert rule.make_views(size) == [View(plain.shape[:2])]


def test_flip_adds_each_size_mirrored() -> None:
    views = ViewRule(scales=[1, 2], flip=True).make_views((10, 20))
    assert views == [View((10, 20)), View((10, 20), True), View((20, 40)), View((20, 40), True)]


def test_min_sizes_equal_those_of_detectron2() -> None:
    rule = ViewRule(min_sizes=[50, 100], max_size=300, plain_min_size=7, plain_max_size=9)
    assert rule.make_views((200, 800)) == [View((50, 200)), View((75, 300))]


def test_scales_override_min_sizes(tiny_config: CfgNode) -> None:
    tiny_config.TEST.AUG.FLIP = False
    assert len(ViewRule(tiny_config).make_views((64, 128))) == len(tiny_config.TEST.AUG.MIN_SIZES) == 9
    tiny_config.TEST.AUG.SCALES = [1.0, 1.5]
    assert ViewRule(tiny_config).make_views((64, 128)) == [View((64, 128)), View((96, 192))]


def test_views_have_at_least_a_pixel() -> None:
    assert ViewRule(scales=[0.1], plain_min_size=64, plain_max_size=100).make_views((1, 5000)) == [View((1, 10))]
    assert ViewRule(min_sizes=[4], max_size=4).make_views((1, 100)) == [View((1, 4))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"TEST\.AUG\.SCALES .*TEST\.AUG\.MIN_SIZES"),
        ({"scales": [1.0, 0.0]}, r"TEST\.AUG\.SCALES: .*0\.0"),
        ({"scales": [-1.0]}, r"TEST\.AUG\.SCALES: .*-1\.0"),
        ({"scales": [0.001], "plain_min_size": 64}, r"TEST\.AUG\.SCALES: 0\.001"),
        ({"min_sizes": [64, 0], "max_size": 100}, r"TEST\.AUG\.MIN_SIZES.*\(64, 0\)"),
        ({"min_sizes": [64], "max_size": 0}, r"TEST\.AUG\.MAX_SIZE.*and 0"),
    ],
)
def test_impossible_rules_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ViewRule(**arguments)


def test_smallest_scale_rounds_to_a_pixel() -> None:
    # 0.5 / 64 of 64 pixels is half a pixel, which rounds to one.
    assert ViewRule(scales=[0.5 / 64], plain_min_size=64, plain_max_size=64).make_views((64, 64)) == [View((1, 1))]
