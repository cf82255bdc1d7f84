"""Panels: their colors, their sizes, and what is drawn when something is absent.

The street is 64 x 128 pixels, so a panel shows it four times enlarged (128 * 4 = 512), under a caption of 22 pixels.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.canvas import Segment, compute_enlargement, draw_segments
from unified_seg.visualization.colors import make_shades
from unified_seg.visualization.panels import SEMANTIC_OPACITY, draw_panels, make_panels

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


def test_opaque_segments_have_their_color_to_the_last_pixel():
    # Two vertical stripes of one pixel each, which polygons through pixel centers would lose.
    ids = np.zeros((3, 512), np.int32)
    ids[:, 7], ids[:, 9] = 1, 2
    segments = [Segment(1, (10, 200, 30), "", is_thing=False), Segment(2, (250, 0, 5), "", is_thing=False)]
    picture = draw_segments(np.full((3, 512, 3), 77, np.uint8), ids, segments, opacity=1.0, hatch_void=True)
    top = (picture.shape[0] - 3) // 2
    assert (picture[top : top + 3, 7] == (10, 200, 30)).all()
    assert (picture[top : top + 3, 9] == (250, 0, 5)).all()
    assert np.isin(picture[top : top + 3, 8], (0, 70)).all()  # void: black or a gray stripe


def test_boxes_stand_on_their_image_where_it_is_padded():
    # An image of one row is the 32nd of a canvas of 64.
    image, ids = np.zeros((1, 700, 3), np.uint8), np.zeros((1, 700), np.int32)
    box = Segment(1, (200, 0, 0), "", is_thing=True, box=(100, 0, 200, 1))
    pictures = [draw_segments(image, ids, s, opacity=1, hatch_void=False) for s in ([], [box])]
    rows, columns = np.nonzero((pictures[0] != pictures[1]).any(axis=2))
    assert 27 <= rows.min() <= 31 <= rows.max() <= 36
    assert 95 <= columns.min() <= 100 and 199 <= columns.max() <= 205


def test_both_forms_of_output_draw_the_same_picture(image, compact, full, metadata):
    assert np.array_equal(draw_panels(image, compact, metadata), draw_panels(image, full, metadata))


def test_drawing_is_deterministic_and_leaves_its_input_alone(image, compact, metadata):
    before = image.copy(), compact["panoptic_seg"][0].clone()
    first = draw_panels(image, compact, metadata)
    np.random.default_rng().random()
    np.random.rand(3)
    assert np.array_equal(first, draw_panels(image, compact, metadata))
    assert np.array_equal(image, before[0]) and torch.equal(compact["panoptic_seg"][0], before[1])


def test_two_cars_have_two_shades_of_one_color(metadata, table, compact):
    panels = make_panels(compact, table, confidence_threshold=0.0)
    for panel in (panels["instances"], panels["panoptic"]):
        cars = [segment.color for segment in panel.segments if segment.is_thing]
        assert cars == make_shades((0, 0, 142))[:2]


def test_the_threshold_hides_instances(table, compact):
    assert len(make_panels(compact, table, 0.5)["instances"].segments) == 1
    assert len(make_panels(compact, table, 0.4)["instances"].segments) == 2  # 0.4 as float32 is not below 0.4


def test_void_is_black_with_stripes_in_the_panoptic_panel(image, compact, metadata):
    corner = panel_of(draw_panels(image, compact, metadata), 1, 1)[57 * SCALE :, 97 * SCALE :]
    assert set(np.unique(corner)) == {0, 70}


def test_smaller_masks_are_painted_over_larger_ones(table):
    masks = torch.zeros((2, 8, 8), dtype=torch.bool)
    masks[0, 3:5, 3:5] = True
    masks[1] = True
    boxes = Boxes(torch.tensor([[3.0, 3.0, 5.0, 5.0], [0.0, 0.0, 8.0, 8.0]]))
    instances = Instances((8, 8), pred_boxes=boxes, pred_classes=torch.tensor([1, 0]), pred_masks=masks)
    ids = make_panels({"instances": instances}, table)["instances"].ids
    assert (ids == 1).sum() == 4 and (ids == 2).sum() == 60


@pytest.mark.parametrize("keys", [(), ("sem_seg_labels",), ("instances",), ("sem_seg_labels", "instances")])
def test_absent_outputs_are_left_out(image, compact, metadata, keys):
    picture = draw_panels(image, {key: compact[key] for key in keys}, metadata, legend="none")
    assert picture.shape == (CAPTION + 64 * SCALE, (len(keys) + 1) * 512 + len(keys) * GAP, 3)


def test_a_fusion_is_drawn_before_and_after(metadata, table, fused):
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


def test_found_instances_are_named_and_drawn_whatever_their_score(table, fused):
    before = make_panels(fused["unfused"], table)["instances"]
    assert [segment.label for segment in before.segments] == ["car 90%", "car 60%"]
    assert before.caption == "instances: 2 (score ≥ 0.5)"
    after = make_panels(fused, table, confidence_threshold=0.5)["instances"]
    assert [segment.label for segment in after.segments] == ["car 90%", "car found"]
    assert after.caption == "instances: 2 (1 found by semantics, 1 dropped)"
    # Of the dropped one nothing is drawn; below the threshold it isn't counted either.
    assert (after.ids == 1).sum() == (after.ids == 2).sum() == 24 * 24
    strict = make_panels(fused, table, confidence_threshold=0.7)["instances"]
    assert strict.caption == "instances: 2 (1 found by semantics, 0 dropped)"


def test_the_instances_after_a_fusion_are_the_same_in_both_forms(table, fused):
    # Detectron2's form has full masks and no `unfused`.
    compact = make_panels(fused, table)["instances"]
    fused["instances"].pred_masks = fused["instances"].pred_masks.full()
    del fused["unfused"]
    full = make_panels(fused, table)["instances"]
    assert (full.caption, full.segments) == (compact.caption, compact.segments)
    assert np.array_equal(full.ids, compact.ids)


def test_a_fusion_that_dropped_everything(table, fused, image, metadata):
    ids, segments = fused["panoptic_seg"]
    fused["panoptic_seg"] = (ids, [segment for segment in segments if not segment["isthing"]])
    assert make_panels(fused, table)["instances"].segments == []
    assert draw_panels(image, fused, metadata).size


@pytest.mark.parametrize("missing", ["sem_seg_labels", "instances", "panoptic_seg"])
def test_a_fusion_without_one_of_its_outputs_is_refused(image, metadata, fused, missing):
    del fused[missing]
    with pytest.raises(ValueError, match=r"before there are \['instances', 'semantic'\], after"):
        draw_panels(image, fused, metadata)


def test_boxes_without_masks(image, compact, metadata):
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


def test_enlargement():
    assert compute_enlargement(128, 256) == 2
    assert compute_enlargement(100, 300) == 2  # 600 pixels: the first whole factor that reaches 512
    assert compute_enlargement(1024, 2048) == 1
    assert compute_enlargement(5000, 1) == 1  # 512 would make it 2,560,000 pixels high


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


def test_flags_of_other_types_are_accepted(table):
    for isthing in (1, np.True_, True):
        panoptic = (torch.ones((4, 4), dtype=torch.int32), [{"id": 1, "category_id": 1, "isthing": isthing}])
        assert make_panels({"panoptic_seg": panoptic}, table)["panoptic"].segments[0].label == "person"


def test_the_legend_has_one_size_when_it_shows_all(image, compact, metadata):
    empty = {"sem_seg_labels": torch.full((64, 128), SKY)}
    alone = {"sem_seg_labels": compact["sem_seg_labels"]}
    first, second = (draw_panels(image, outputs, metadata, legend="all") for outputs in (empty, alone))
    assert first.shape == second.shape
    assert draw_panels(image, empty, metadata, legend="none").shape[0] < first.shape[0]


def test_ids_outside_the_class_table_are_named(image, metadata):
    with pytest.raises(ValueError, match=r"\[7\].*0 \.\. 3"):
        draw_panels(image, {"sem_seg_labels": torch.full((64, 128), 7)}, metadata)
    instances = Instances((64, 128), pred_boxes=Boxes(torch.zeros(1, 4)), pred_classes=torch.tensor([5]))
    with pytest.raises(ValueError, match=r"class 5.*2 things"):
        draw_panels(image, {"instances": instances}, metadata)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_an_image_of_another_kind_is_refused(bad, metadata):
    with pytest.raises(ValueError, match=r"RGB image \(H, W, 3\)"):
        draw_panels(bad, {}, metadata)


def test_outputs_of_another_size_are_refused(image, metadata):
    with pytest.raises(ValueError, match=r"\(32, 32\).*\(64, 128\)"):
        draw_panels(image, {"sem_seg_labels": torch.zeros((32, 32), dtype=torch.int64)}, metadata)


def test_one_semantic_id_for_all_things():
    # COCO separated: the semantic map knows "things" and the stuff, thing ids are apart.
    metadata = SimpleNamespace(
        stuff_classes=["things", "grass"],
        thing_classes=["cat", "dog"],
        thing_dataset_id_to_contiguous_id={1: 0, 2: 1},
        stuff_dataset_id_to_contiguous_id={0: 0, 3: 1},
    )
    labels = torch.zeros((4, 4), dtype=torch.int64)
    panel = make_panels({"sem_seg_labels": labels}, ClassTable.from_metadata(metadata))["semantic"]
    assert [segment.label for segment in panel.segments] == ["things"]
