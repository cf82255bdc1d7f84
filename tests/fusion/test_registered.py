"""The registered fusions, built from a config, on Cityscapes' classes."""

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances

from unified_seg.config import get_config
from unified_seg.fusion import (
    PANOPTIC_FUSION_REGISTRY,
    FusionResult,
    ScoreOrderFusion,
    SemanticGuidedFusion,
    build_panoptic_fusion,
)
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable

ROAD, CAR, TRUCK = 0, 13, 14  # semantic ids
CAR_THING, TRUCK_THING = 2, 3


@pytest.fixture(scope="module")
def table() -> ClassTable:
    return ClassTable.from_metadata(MetadataCatalog.get("unified_cityscapes_val"))


@pytest.fixture
def config() -> CfgNode:
    return get_config()


def detect(masks: torch.Tensor, classes: list[int], scores: list[float]) -> Instances:
    """Return detections with tight boxes around full masks."""
    masks_in_boxes = BoxMasks.from_full(masks)
    return Instances(
        masks_in_boxes.image_size,
        pred_boxes=Boxes(masks_in_boxes.windows.float()),
        pred_masks=masks_in_boxes,
        scores=torch.tensor(scores),
        pred_classes=torch.tensor(classes),
    )


def areas_of(result: FusionResult) -> list[tuple[int, int]]:
    return [(s["category_id"], s["area"]) for s in result.panoptic.segments_info]


def test_unknown_name_lists_the_known_ones(config: CfgNode, table: ClassTable) -> None:
    config.MODEL.PANOPTIC_FUSION.NAME = "Kirillov"
    with pytest.raises(ValueError, match=r"NAME: .*'Kirillov'") as error:
        build_panoptic_fusion(config, table)
    assert all(name in str(error.value) for name, _ in PANOPTIC_FUSION_REGISTRY)


class TestScoreOrderFusion:
    @pytest.fixture(autouse=True)
    def name(self, config: CfgNode) -> None:
        config.MODEL.PANOPTIC_FUSION.NAME = "ScoreOrderFusion"

    @pytest.fixture
    def inputs(self) -> tuple[torch.Tensor, Instances]:
        """A road with two cars of 16 pixels that share a column of 4."""
        full = torch.zeros(2, 8, 8, dtype=torch.bool)
        full[0, 2:6, 1:4] = full[1, 2:6, 3:7] = True
        return torch.zeros(8, 8, dtype=torch.uint8), detect(full, [CAR_THING, CAR_THING], [0.6, 0.9])

    @pytest.mark.parametrize(
        ("overrides", "areas"),
        [
            # By default both cars are in: the first loses 4 of 12 pixels; of the road 64 - 24 = 40 remain.
            ({}, [(CAR_THING, 16), (CAR_THING, 8)]),
            ({"INSTANCES_CONFIDENCE_THRESH": 0.95}, []),
            ({"OVERLAP_THRESH": 0.3}, [(CAR_THING, 16)]),
            ({"STUFF_AREA_LIMIT": 40}, [(CAR_THING, 16), (CAR_THING, 8), (ROAD, 40)]),
        ],
    )
    def test_reads_each_key(self, overrides: dict, areas: list, inputs: tuple, config: CfgNode, table: ClassTable):
        config.MODEL.PANOPTIC_FPN.COMBINE.update(overrides)
        fusion = build_panoptic_fusion(config, table)
        assert isinstance(fusion, ScoreOrderFusion)
        assert areas_of(fusion(*inputs)) == areas

    def test_returns_the_given_labels_and_instances(self, inputs: tuple, config: CfgNode, table: ClassTable) -> None:
        labels, instances = inputs
        result = build_panoptic_fusion(config, table)(labels, instances)
        assert result.labels is labels and result.instances is instances
        assert not labels.any()

    def test_fuses_without_instances(self, inputs: tuple, config: CfgNode, table: ClassTable) -> None:
        config.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = 1
        labels, instances = inputs
        assert areas_of(build_panoptic_fusion(config, table)(labels, instances[[]])) == [(ROAD, 64)]


class TestSemanticGuidedFusion:
    @pytest.fixture(autouse=True)
    def name(self, config: CfgNode) -> None:
        config.MODEL.PANOPTIC_FUSION.NAME = "SemanticGuidedFusion"

    @staticmethod
    def street() -> tuple[torch.Tensor, Instances]:
        """Return a truck of 4x4 that the labels call half car, and a car of 2x2 without a detection.

        The truck's detection covers its upper half and a row above it. A second detection lies on the road.
        """
        labels = torch.zeros(10, 10, dtype=torch.uint8)
        labels[2:6, 1:3], labels[2:6, 3:5] = TRUCK, CAR
        labels[7:9, 7:9] = CAR
        full = torch.zeros(2, 10, 10, dtype=torch.bool)
        full[0, 1:4, 1:5] = True
        full[1, 0:1, 6:9] = True
        return labels, detect(full, [TRUCK_THING, CAR_THING], [0.9, 0.6])

    def test_refines_detections_and_appends_found_instances(self, config: CfgNode, table: ClassTable) -> None:
        labels, instances = self.street()
        fusion = build_panoptic_fusion(config, table)
        assert isinstance(fusion, SemanticGuidedFusion)
        result = fusion(labels, instances)
        refined = labels.clone()
        refined[2:6, 1:5] = TRUCK
        assert torch.equal(result.labels, refined)
        # The truck of 16 pixels, the found car of 4, the road: 100 - 20. The car on the road has no pixel of its
        # category.
        assert areas_of(result) == [(TRUCK_THING, 16), (CAR_THING, 4), (ROAD, 80)]
        assert [s.get("instance_id") for s in result.panoptic.segments_info] == [0, 2, None]
        after = result.instances
        assert after.found.tolist() == [False, False, True]
        assert after.pred_classes.tolist() == [TRUCK_THING, CAR_THING, CAR_THING]
        assert after.scores.tolist() == pytest.approx([0.9, 0.6, 0.0])
        assert torch.equal(after.pred_masks.full()[0], refined == TRUCK)
        assert torch.equal(after.pred_masks.full()[1], instances.pred_masks.full()[1])
        # Boxes of detections stay the detector's; that of a found instance is tight.
        assert torch.equal(after.pred_boxes.tensor[:2], instances.pred_boxes.tensor)
        assert after.pred_boxes.tensor[2].tolist() == [7, 7, 9, 9]
        assert after.image_size == (10, 10)

    def test_does_not_change_its_arguments(self, config: CfgNode, table: ClassTable) -> None:
        labels, instances = self.street()
        build_panoptic_fusion(config, table)(labels, instances)
        expected_labels, expected = self.street()
        assert torch.equal(labels, expected_labels)
        assert torch.equal(instances.pred_masks.full(), expected.pred_masks.full())
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
    def test_reads_each_threshold(
        self, key: str | None, value: float, segments: int, config: CfgNode, table: ClassTable
    ):
        config.merge_from_list([f"MODEL.{key}", value] if key else [])
        assert len(areas_of(build_panoptic_fusion(config, table)(*self.street()))) == segments

    def test_reads_overlap_and_connectivity(self, config: CfgNode, table: ClassTable) -> None:
        # Two trucks of 8 pixels, the second with 2 of its 4 matched pixels taken; and one that touches by a corner.
        labels = torch.zeros(4, 6, dtype=torch.uint8)
        labels[0:2, 0:4], labels[2, 4] = TRUCK, TRUCK
        full = torch.zeros(2, 4, 6, dtype=torch.bool)
        full[0, 0:2, 0:3], full[1, 0:2, 2:4] = True, True
        instances = detect(full, [TRUCK_THING, TRUCK_THING], [0.9, 0.8])

        def areas() -> list[int]:
            result = build_panoptic_fusion(config, table)(labels, instances)
            return [s["area"] for s in result.panoptic.segments_info if s["isthing"]]

        assert areas() == [6, 2, 1]
        config.MODEL.PANOPTIC_FUSION.CONNECTIVITY = 8
        assert areas() == [6, 3]
        config.MODEL.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH = 0.4
        assert areas() == [9]

    def test_fuses_without_instances(self, config: CfgNode, table: ClassTable) -> None:
        labels, instances = self.street()
        result = build_panoptic_fusion(config, table)(labels, instances[[]])
        assert result.instances.found.all() and len(result.instances) == 3

    @pytest.mark.parametrize(
        ("key", "value"), [("MIN_STUFF_AREA", 4096.0), ("CONNECTIVITY", 6), ("MIN_SEGMENT_AREA", -1.0)]
    )
    def test_invalid_option_fails_when_built(self, key: str, value: float, config: CfgNode, table: ClassTable) -> None:
        config.MODEL.PANOPTIC_FUSION[key] = value
        with pytest.raises(ValueError, match=rf"{key.lower()} must be .*, got {value}"):
            build_panoptic_fusion(config, table)
