"""The segments and captions of panels; nothing is drawn."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from unified_seg.structures.class_table import ClassTable, SegmentClass
from unified_seg.visualization.colors import make_shades
from unified_seg.visualization.panels import make_panels

SKY = 0


def test_two_cars_have_two_shades_of_one_color(metadata, table, compact):
    panels = make_panels(compact, table, confidence_threshold=0.0)
    for panel in (panels["instances"], panels["panoptic"]):
        cars = [segment.color for segment in panel.segments if segment.is_thing]
        assert cars == make_shades((0, 0, 142))[:2]


def test_instances_below_the_threshold_are_left_out(table, compact):
    assert len(make_panels(compact, table, 0.5)["instances"].segments) == 1
    assert len(make_panels(compact, table, 0.4)["instances"].segments) == 2  # 0.4 as float32 is not below 0.4


def test_smaller_masks_are_painted_over_larger_ones(table):
    masks = torch.zeros((2, 8, 8), dtype=torch.bool)
    masks[0, 3:5, 3:5] = True
    masks[1] = True
    boxes = Boxes(torch.tensor([[3.0, 3.0, 5.0, 5.0], [0.0, 0.0, 8.0, 8.0]]))
    instances = Instances((8, 8), pred_boxes=boxes, pred_classes=torch.tensor([1, 0]), pred_masks=masks)
    ids = make_panels({"instances": instances}, table)["instances"].ids
    assert (ids == 1).sum() == 4 and (ids == 2).sum() == 60


def test_found_instances_are_labeled_whatever_their_score(table, fused):
    before = make_panels(fused["unfused"], table)["instances"]
    assert [segment.label for segment in before.segments] == ["car 90%", "car 60%"]
    assert before.caption == "instances: 2 (score ≥ 0.5)"
    after = make_panels(fused, table, confidence_threshold=0.5)["instances"]
    assert [segment.label for segment in after.segments] == ["car 90%", "car found"]
    assert after.caption == "instances: 2 (1 found by semantics, 1 dropped)"
    # The dropped one is not drawn, and below the threshold it is not counted.
    assert (after.ids == 1).sum() == (after.ids == 2).sum() == 24 * 24
    strict = make_panels(fused, table, confidence_threshold=0.7)["instances"]
    assert strict.caption == "instances: 2 (1 found by semantics, 0 dropped)"


def test_instances_after_a_fusion_are_equal_in_both_forms(table, fused):
    # Detectron2's form has full masks and no `unfused`.
    compact = make_panels(fused, table)["instances"]
    fused["instances"].pred_masks = fused["instances"].pred_masks.full()
    del fused["unfused"]
    full = make_panels(fused, table)["instances"]
    assert (full.caption, full.segments) == (compact.caption, compact.segments)
    assert np.array_equal(full.ids, compact.ids)


def test_isthing_may_have_any_type(table):
    for isthing in (1, np.True_, True):
        panoptic = (torch.ones((4, 4), dtype=torch.int32), [{"id": 1, "category_id": 1, "isthing": isthing}])
        assert make_panels({"panoptic_seg": panoptic}, table)["panoptic"].segments[0].label == "person"


def test_shared_semantic_id_is_labeled_things():
    # COCO separated: one semantic id for all things.
    metadata = SimpleNamespace(
        stuff_classes=["things", "grass"],
        thing_classes=["cat", "dog"],
        thing_dataset_id_to_contiguous_id={1: 0, 2: 1},
        stuff_dataset_id_to_contiguous_id={0: 0, 3: 1},
    )
    labels = torch.zeros((4, 4), dtype=torch.int64)
    panel = make_panels({"sem_seg_labels": labels}, ClassTable.from_metadata(metadata))["semantic"]
    assert [segment.label for segment in panel.segments] == ["things"]


def test_unknown_ids_are_errors(table):
    with pytest.raises(ValueError, match=r"semantic map: .*\[7\]"):
        make_panels({"sem_seg_labels": torch.full((64, 128), 7)}, table)
    instances = Instances((64, 128), pred_boxes=Boxes(torch.zeros(1, 4)), pred_classes=torch.tensor([5]))
    with pytest.raises(ValueError, match=r"instances: class 5"):
        make_panels({"instances": instances}, table)


def test_the_last_of_256_classes_is_no_void():
    many = ClassTable([SegmentClass(f"c{i}", i, None, i, f"c{i}", (i, 0, 0)) for i in range(256)], ignore_label=65535)
    panel = make_panels({"sem_seg_labels": torch.tensor([[0, 254, 255]], dtype=torch.uint8)}, many)["semantic"]
    assert panel.ids.tolist() == [[1, 255, 256]]
