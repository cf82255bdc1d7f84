"""Drawn overviews: their colors, their sizes, and what is drawn if an output is missing.

The street is 64 x 128 pixels, so a panel shows it four times enlarged (128 * 4 = 512), under a caption of 22 pixels.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.visualization.overview import arrange_panels, choose_columns, draw_panels
from unified_seg.visualization.panels import SEMANTIC_OPACITY, Scene, make_panels

SKY, ROAD, CAR, PERSON = range(4)
CAPTION, GAP, SCALE = 22, 4, 4


def panel_of(picture, row, column):
    """The image part of one of the 2 x 2 panels of the street."""
    top = row * (CAPTION + 64 * SCALE + GAP) + CAPTION
    left = column * (128 * SCALE + GAP)
    return picture[top : top + 64 * SCALE, left : left + 128 * SCALE]


def at(panel, row, column):
    """The color of the middle of an image pixel."""
    return tuple(panel[row * SCALE + SCALE // 2, column * SCALE + SCALE // 2].tolist())


def blend(color, gray, opacity):
    return tuple(round(opacity * channel + (1 - opacity) * gray) for channel in color)


def test_semantic_pixels_have_the_color_of_the_class_table(metadata, table, compact):
    # On a gray image of 100 a pixel is exactly the blend of its class color and 100.
    picture = draw_panels(np.full((64, 128, 3), 100, np.uint8), compact, metadata)
    panel = panel_of(picture, 0, 1)
    for row, column, label in ((4, 4, SKY), (52, 4, ROAD), (26, 22, CAR)):
        assert at(panel, row, column) == blend(table.semantic_colors[label], 100, SEMANTIC_OPACITY)


def test_both_forms_of_output_draw_the_same_picture(image, compact, full, metadata):
    assert np.array_equal(draw_panels(image, compact, metadata), draw_panels(image, full, metadata))


def test_drawing_is_deterministic_and_changes_no_input(image, compact, metadata):
    before = image.copy(), compact["panoptic_seg"][0].clone()
    first = draw_panels(image, compact, metadata)
    np.random.default_rng().random()
    np.random.rand(3)
    assert np.array_equal(first, draw_panels(image, compact, metadata))
    assert np.array_equal(image, before[0]) and torch.equal(compact["panoptic_seg"][0], before[1])


def test_void_is_black_with_stripes_in_the_panoptic_panel(image, compact, metadata):
    corner = panel_of(draw_panels(image, compact, metadata), 1, 1)[57 * SCALE :, 97 * SCALE :]
    assert set(np.unique(corner)) == {0, 70}


@pytest.mark.parametrize("keys", [(), ("sem_seg_labels",), ("instances",), ("sem_seg_labels", "instances")])
def test_missing_outputs_are_left_out(image, compact, metadata, keys):
    picture = draw_panels(image, {key: compact[key] for key in keys}, metadata, legend="none")
    assert picture.shape == (CAPTION + 64 * SCALE, (len(keys) + 1) * 512 + len(keys) * GAP, 3)


def test_panels_before_and_after_a_fusion_are_neighbors(image, table, fused):
    captions = [panel.caption for panel in arrange_panels(Scene(image, fused, table))]
    assert [caption.split(":")[0] for caption in captions] == [
        "before fusion · semantic", "after fusion · semantic", "panoptic",
        "before fusion · instances", "after fusion · instances",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pictures", "is_wide", "columns"),
    [(1, True, 1), (3, False, 3), (4, True, 2), (4, False, 4), (5, True, 3), (9, False, 3)],
)
def test_columns_of_a_grid(pictures, is_wide, columns):
    assert choose_columns(pictures, is_wide) == columns


def test_predictions_before_and_after_a_fusion_are_drawn(metadata, table, fused):
    picture = draw_panels(np.full((64, 128, 3), 100, np.uint8), fused, metadata, legend="none")
    # input | semantic before | semantic after, and below panoptic | instances before | instances after
    assert picture.shape == (2 * (CAPTION + 64 * SCALE) + GAP, 3 * 512 + 2 * GAP, 3)
    # A pixel of the second car, near its border, where no name stands.
    for column, label in ((1, PERSON), (2, CAR)):
        color = at(panel_of(picture, 0, column), 26, 46)
        assert color == blend(table.semantic_colors[label], 100, SEMANTIC_OPACITY)
    gray, blue = (at(panel_of(picture, 1, column), 44, 64) for column in (1, 2))
    assert gray[0] == gray[2] and blue[2] > blue[0] + 60
    assert set(np.unique(panel_of(picture, 1, 0)[57 * SCALE :, 97 * SCALE :])) == {0, 70}  # the void of the panoptic


def test_fusion_that_dropped_every_detection_is_drawn(table, fused, image, metadata):
    ids, segments = fused["panoptic_seg"]
    fused["panoptic_seg"] = (ids, [segment for segment in segments if not segment["isthing"]])
    assert make_panels(fused, table)["instances"].segments == []
    assert draw_panels(image, fused, metadata).size


@pytest.mark.parametrize("missing", ["sem_seg_labels", "instances", "panoptic_seg"])
def test_fusion_without_one_of_its_outputs_is_an_error(image, metadata, fused, missing):
    del fused[missing]
    with pytest.raises(ValueError, match=r"before there are \['instances', 'semantic'\], after"):
        draw_panels(image, fused, metadata)


def test_boxes_without_masks_are_drawn(image, compact, metadata):
    instances = Instances((64, 128), **compact["instances"].get_fields())
    instances.remove("pred_masks")
    with_boxes = draw_panels(image, {"instances": instances}, metadata)
    without = draw_panels(image, {"instances": instances[:0]}, metadata)
    assert not np.array_equal(with_boxes, without)


@settings(deadline=None, max_examples=15)
@given(st.sampled_from([(1, 1), (1, 700), (700, 1), (2, 3), (33, 65), (200, 2), (90, 513)]), st.integers(0, 3))
def test_any_size_is_drawn(size, label):
    metadata = SimpleNamespace(stuff_classes=["a", "b", "c"], thing_classes=["c"], ignore_label=3)
    height, width = size
    instances = Instances(
        size,
        pred_boxes=Boxes(torch.tensor([[0.0, 0.0, width, height]])),
        pred_classes=torch.tensor([0]),
        scores=torch.ones(1),
        pred_masks=torch.ones((1, *size), dtype=torch.bool),
    )
    outputs = {
        "sem_seg_labels": torch.full(size, label),
        "instances": instances[: label % 2],
        "panoptic_seg": (torch.ones(size, dtype=torch.int32), [{"id": 1, "category_id": 0, "isthing": label % 2 == 0}]),
    }
    picture = draw_panels(np.zeros((height, width, 3), np.uint8), outputs, metadata)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert max(picture.shape) < 3000


@pytest.mark.filterwarnings("ignore:Glyph")  # the font of matplotlib has no Chinese: boxes are drawn instead
@pytest.mark.parametrize("name", ["price $", "$a$b$", r"\$x^{", "$\\frac$", "ünïcode 道路"])
def test_any_class_name_is_drawn(image, name):
    metadata = SimpleNamespace(stuff_classes=[name], thing_classes=[name], ignore_label=255)
    ids = torch.ones((64, 128), dtype=torch.int32)
    segments = [{"id": 1, "category_id": 0, "isthing": True, "score": 0.5}]
    outputs = {"sem_seg_labels": torch.zeros((64, 128), dtype=torch.int64), "panoptic_seg": (ids, segments)}
    labeled = draw_panels(image, outputs, metadata)
    blank = draw_panels(image, outputs, SimpleNamespace(stuff_classes=[""], thing_classes=[""], ignore_label=255))
    assert not np.array_equal(labeled[: 64 * SCALE], blank[: 64 * SCALE])


def test_legend_of_all_classes_has_one_size(image, compact, metadata):
    empty = {"sem_seg_labels": torch.full((64, 128), SKY)}
    alone = {"sem_seg_labels": compact["sem_seg_labels"]}
    first, second = (draw_panels(image, outputs, metadata, legend="all") for outputs in (empty, alone))
    assert first.shape == second.shape
    assert draw_panels(image, empty, metadata, legend="none").shape[0] < first.shape[0]


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_image_of_another_type_is_an_error(bad, metadata):
    with pytest.raises(ValueError, match=r"RGB \(H, W, 3\)"):
        draw_panels(bad, {}, metadata)


def test_output_of_another_size_is_an_error(image, metadata):
    with pytest.raises(ValueError, match=r"\(64, 128\).*\(32, 32\)"):
        draw_panels(image, {"sem_seg_labels": torch.zeros((32, 32), dtype=torch.int64)}, metadata)
