import pytest
import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances

from unified_seg.config import get_config
from unified_seg.fusion import SemanticGuidedFusion, build_panoptic_fusion
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable

ROAD, CAR, TRUCK = 0, 13, 14  # semantic ids
CAR_THING, TRUCK_THING = 2, 3


@pytest.fixture
def config() -> CfgNode:
    cfg = get_config()
    cfg.MODEL.PANOPTIC_FUSION.NAME = "SemanticGuidedFusion"
    return cfg


def street() -> tuple[torch.Tensor, Instances]:
    """10 x 10 pixels: a truck of 4 x 4 that the pixels call half car; a car of 2 x 2 that nobody detects.

    The detector's mask covers the truck's upper half, and a row above it. A second detection lies on the road.
    """
    labels = torch.zeros(10, 10, dtype=torch.uint8)
    labels[2:6, 1:3], labels[2:6, 3:5] = TRUCK, CAR
    labels[7:9, 7:9] = CAR
    full = torch.zeros(2, 10, 10, dtype=torch.bool)
    full[0, 1:4, 1:5] = True
    full[1, 0:1, 6:9] = True
    boxes = Boxes(torch.tensor([[1.0, 1.0, 5.0, 4.0], [6.0, 0.0, 9.0, 1.0]]))
    fields = {"scores": torch.tensor([0.9, 0.6]), "pred_classes": torch.tensor([TRUCK_THING, CAR_THING])}
    return labels, Instances((10, 10), pred_boxes=boxes, pred_masks=BoxMasks.from_full(full), **fields)


def test_the_truck_is_whole_and_the_lonely_car_is_found(config: CfgNode, table: ClassTable) -> None:
    labels, instances = street()
    fusion = build_panoptic_fusion(config, table)
    assert isinstance(fusion, SemanticGuidedFusion)
    result = fusion(labels, instances)
    refined = labels.clone()
    refined[2:6, 1:5] = TRUCK
    assert torch.equal(result.labels, refined)
    # The truck of 16 pixels, the found car of 4, the road: 100 - 20. The car on the road has no pixel of its category.
    segments = [
        (s["category_id"], s["isthing"], s["area"], s.get("instance_id")) for s in result.panoptic.segments_info
    ]
    assert segments == [(TRUCK_THING, True, 16, 0), (CAR_THING, True, 4, 2), (ROAD, False, 80, None)]
    after = result.instances
    assert after.found.tolist() == [False, False, True]
    assert after.pred_classes.tolist() == [TRUCK_THING, CAR_THING, CAR_THING]
    assert after.scores.tolist() == pytest.approx([0.9, 0.6, 0.0])
    assert torch.equal(after.pred_masks.full()[0], refined == TRUCK)
    assert torch.equal(after.pred_masks.full()[1], instances.pred_masks.full()[1])
    # Boxes of detections stay the detector's; a found one's is tight.
    assert torch.equal(after.pred_boxes.tensor[:2], instances.pred_boxes.tensor)
    assert after.pred_boxes.tensor[2].tolist() == [7, 7, 9, 9]
    assert after.image_size == (10, 10)


def test_the_arguments_stay_as_they_are(config: CfgNode, table: ClassTable) -> None:
    labels, instances = street()
    build_panoptic_fusion(config, table)(labels, instances)
    untouched_labels, untouched = street()
    assert torch.equal(labels, untouched_labels)
    assert torch.equal(instances.pred_masks.full(), untouched.pred_masks.full())
    assert not instances.has("found")


@pytest.mark.parametrize(
    ("key", "value", "segments"),
    [
        (None, None, 3),
        # The truck's two halves and the other car are found instead of it: 3 instances and the road.
        ("PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.95, 4),
        ("PANOPTIC_FUSION.MIN_STUFF_AREA", 0.81, 2),
        ("PANOPTIC_FUSION.MIN_SEGMENT_AREA", 0.05, 2),
    ],
)
def test_each_number_is_read(key: str | None, value: float, segments: int, config: CfgNode, table: ClassTable) -> None:
    if key is not None:
        config.merge_from_list([f"MODEL.{key}", value])
    assert len(build_panoptic_fusion(config, table)(*street()).panoptic.segments_info) == segments


def test_overlap_and_connectivity_are_read(config: CfgNode, table: ClassTable) -> None:
    # Two trucks of 8 pixels, the second with 2 of its 4 matched pixels taken; and a car that touches by a corner.
    labels = torch.zeros(4, 6, dtype=torch.uint8)
    labels[0:2, 0:4], labels[2, 4] = TRUCK, TRUCK
    full = torch.zeros(2, 4, 6, dtype=torch.bool)
    full[0, 0:2, 0:3], full[1, 0:2, 2:4] = True, True
    instances = Instances(
        (4, 6),
        pred_boxes=Boxes(torch.tensor([[0.0, 0.0, 3.0, 2.0], [2.0, 0.0, 4.0, 2.0]])),
        pred_masks=BoxMasks.from_full(full),
        scores=torch.tensor([0.9, 0.8]),
        pred_classes=torch.tensor([TRUCK_THING, TRUCK_THING]),
    )

    def areas() -> list[int]:
        result = build_panoptic_fusion(config, table)(labels, instances)
        return [s["area"] for s in result.panoptic.segments_info if s["isthing"]]

    assert areas() == [6, 2, 1]
    config.MODEL.PANOPTIC_FUSION.CONNECTIVITY = 8
    assert areas() == [6, 3]
    config.MODEL.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH = 0.4
    assert areas() == [9]


def test_no_instances(config: CfgNode, table: ClassTable) -> None:
    labels, instances = street()
    result = build_panoptic_fusion(config, table)(labels, instances[[]])
    assert result.instances.found.all() and len(result.instances) == 3


@pytest.mark.parametrize(
    ("key", "value"), [("MIN_STUFF_AREA", 4096.0), ("CONNECTIVITY", 6), ("MIN_SEGMENT_AREA", -1.0)]
)
def test_options_out_of_range_fail_when_the_model_is_built(
    key: str, value: float, config: CfgNode, table: ClassTable
) -> None:
    config.MODEL.PANOPTIC_FUSION[key] = value
    with pytest.raises(ValueError, match=rf"{key.lower()} must be .*, got {value}"):
        build_panoptic_fusion(config, table)
