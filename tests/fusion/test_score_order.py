import pytest
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances

from unified_seg.config import get_config
from unified_seg.fusion import PANOPTIC_FUSION_REGISTRY, ScoreOrderFusion, build_panoptic_fusion
from unified_seg.fusion.panoptic import score_order_merge
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable

ROAD, CAR = 0, 2


@pytest.fixture
def config() -> CfgNode:
    cfg = get_config()
    cfg.MODEL.PANOPTIC_FUSION.NAME = "ScoreOrderFusion"
    return cfg


def cars() -> Instances:
    full = torch.zeros(2, 8, 8, dtype=torch.bool)
    full[0, 2:6, 1:4] = full[1, 2:6, 3:7] = True
    fields = {"scores": torch.tensor([0.6, 0.9]), "pred_classes": torch.tensor([CAR, CAR])}
    return Instances((8, 8), pred_masks=BoxMasks.from_full(full), **fields)


def test_it_is_the_merge_with_the_configs_numbers(config: CfgNode, table: ClassTable) -> None:
    combine = config.MODEL.PANOPTIC_FPN.COMBINE
    combine.INSTANCES_CONFIDENCE_THRESH, combine.OVERLAP_THRESH, combine.STUFF_AREA_LIMIT = 0.7, 0.2, 40
    fusion = build_panoptic_fusion(config, table)
    assert isinstance(fusion, ScoreOrderFusion)
    labels, instances = torch.zeros(8, 8, dtype=torch.uint8), cars()
    result = fusion(labels, instances)
    expected = score_order_merge(
        labels, instances.pred_masks, instances.pred_classes, instances.scores, table,
        score_threshold=0.7, overlap_threshold=0.2, stuff_area_limit=40,
    )  # fmt: skip
    assert torch.equal(result.panoptic.ids, expected.ids)
    assert result.panoptic.segments_info == expected.segments_info
    # One car of 16 pixels reaches 0.7; the road keeps 64 - 16 = 48 pixels.
    assert [(s["category_id"], s["area"]) for s in result.panoptic.segments_info] == [(CAR, 16), (ROAD, 48)]


@pytest.mark.parametrize(
    ("key", "value", "areas"),
    [
        # By default both cars are in: the first loses 4 of 12 pixels; of the road 64 - 24 = 40 remain.
        (None, None, [16, 8]),
        ("INSTANCES_CONFIDENCE_THRESH", 0.95, []),
        ("OVERLAP_THRESH", 0.3, [16]),
        ("STUFF_AREA_LIMIT", 40, [16, 8, 40]),
    ],
)
def test_each_number_is_read(
    key: str | None, value: float, areas: list[int], config: CfgNode, table: ClassTable
) -> None:
    if key is not None:
        config.MODEL.PANOPTIC_FPN.COMBINE[key] = value
    result = build_panoptic_fusion(config, table)(torch.zeros(8, 8, dtype=torch.uint8), cars())
    assert [s["area"] for s in result.panoptic.segments_info] == areas


def test_labels_and_instances_stay_as_they_are(config: CfgNode, table: ClassTable) -> None:
    labels, instances = torch.zeros(8, 8, dtype=torch.uint8), cars()
    result = build_panoptic_fusion(config, table)(labels, instances)
    assert result.labels is labels and result.instances is instances
    assert not labels.any()


def test_no_instances(config: CfgNode, table: ClassTable) -> None:
    config.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = 1
    result = build_panoptic_fusion(config, table)(torch.zeros(8, 8, dtype=torch.uint8), cars()[[]])
    assert [s["category_id"] for s in result.panoptic.segments_info] == [ROAD]


def test_an_unknown_name_lists_the_known_ones(config: CfgNode, table: ClassTable) -> None:
    config.MODEL.PANOPTIC_FUSION.NAME = "Kirillov"
    with pytest.raises(ValueError, match="no fusion 'Kirillov'; known: ") as error:
        build_panoptic_fusion(config, table)
    assert all(name in str(error.value) for name, _ in PANOPTIC_FUSION_REGISTRY)
