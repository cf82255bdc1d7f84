import numpy as np
import pytest
import torch
from detectron2.modeling.meta_arch.panoptic_fpn import combine_semantic_and_instance_outputs
from detectron2.structures import Instances
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unified_seg.fusion.panoptic import PanopticMap, score_order_merge
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable, SegmentClass

BLACK = (0, 0, 0)
# As Cityscapes: semantic ids over all classes, road is 0; person is 2 (thing 0), car 3 (thing 1).
STREET = ClassTable(
    [
        SegmentClass("road", 0, None, 7, "flat", BLACK),
        SegmentClass("sky", 1, None, 23, "sky", BLACK),
        SegmentClass("person", 2, 0, 24, "human", BLACK),
        SegmentClass("car", 3, 1, 26, "vehicle", BLACK),
    ]
)
# As COCO separated: semantic id 0 is shared by all things.
SEPARATED = ClassTable(
    [
        SegmentClass("person", 0, 0, 1, "person", BLACK),
        SegmentClass("car", 0, 1, 2, "car", BLACK),
        SegmentClass("grass", 1, None, 3, "grass", BLACK),
        SegmentClass("sky", 2, None, 4, "sky", BLACK),
        SegmentClass("water", 3, None, 5, "water", BLACK),
    ]
)
PERSON, CAR = 0, 1


def grid(text: str) -> Tensor:
    return torch.tensor([[int(c) for c in row] for row in text.split()])


def merge(labels: str, masks: list[str], classes: list[int], scores: list[float], **options: object) -> PanopticMap:
    """`score_order_merge` on drawn maps: a row is a word, a mask has 1 where the instance is."""
    semantic = grid(labels)
    full = torch.stack([grid(m).bool() for m in masks]) if masks else torch.zeros(0, *semantic.shape, dtype=torch.bool)
    settings = {"stuff_area_limit": 1, **options}
    return score_order_merge(
        semantic, BoxMasks.from_full(full), torch.tensor(classes), torch.tensor(scores), STREET, **settings
    )


def test_instances_by_score_then_stuff() -> None:
    # The car (0.9) comes first and keeps its 4 pixels. The person (0.8) has 3, of which 1 is the car's: 1/3 <= 0.5,
    # so it keeps 2. Of label 0 (road) 4 pixels are free and of label 1 (sky) 5; the pixel of label 3 in the
    # last row is a thing without an instance: void.
    result = merge(
        "1111 1331 0330 0003",
        masks=["0000 0110 0110 0000", "0000 0100 1000 1000"],
        classes=[CAR, PERSON],
        scores=[0.9, 0.8],
    )
    # Row 0 sky; row 1 sky, car, car, sky; row 2 person, car, car, road; row 3 person, road, road, void.
    assert torch.equal(result.ids, grid("4444 4114 2113 2330").int())
    assert result.ids.dtype == torch.int32
    assert result.segments_info == [
        {"id": 1, "isthing": True, "category_id": CAR, "area": 4, "score": pytest.approx(0.9), "instance_id": 0},
        {"id": 2, "isthing": True, "category_id": PERSON, "area": 2, "score": pytest.approx(0.8), "instance_id": 1},
        {"id": 3, "isthing": False, "category_id": 0, "area": 3},
        {"id": 4, "isthing": False, "category_id": 1, "area": 6},
    ]


def test_semantic_id_0_is_road_and_is_kept() -> None:
    result = merge("0000 0000 0000 1111", masks=[], classes=[], scores=[])
    assert torch.equal(result.ids, grid("1111 1111 1111 2222").int())
    assert [s["category_id"] for s in result.segments_info] == [0, 1]


def test_the_order_is_by_score_not_by_index() -> None:
    # Both cover the same two middle columns and one of their own; the second has the better score.
    masks = ["1110 1110 1110 1110", "0111 0111 0111 0111"]
    # The first is left with 4 of 12 pixels: 8/12 > 0.5 is taken, so it is dropped and its column is road.
    result = merge("0000 0000 0000 0000", masks, [CAR, CAR], [0.6, 0.7])
    assert torch.equal(result.ids, grid("2111 2111 2111 2111").int())
    assert result.segments_info[0]["instance_id"] == 1
    # With a higher threshold it stays.
    result = merge("0000 0000 0000 0000", masks, [CAR, CAR], [0.6, 0.7], overlap_threshold=0.7)
    assert torch.equal(result.ids, grid("2111 2111 2111 2111").int())
    assert [s["isthing"] for s in result.segments_info] == [True, True]


def test_of_equal_scores_the_lower_index_is_first() -> None:
    masks = ["1100 1100", "0110 0110", "0011 0011"]
    # 0 takes columns 0 and 1; 1 has half of its pixels taken, not more than 0.5, and keeps column 2; 2 keeps column 3.
    result = merge("0000 0000", masks, [CAR] * 3, [0.8] * 3)
    assert torch.equal(result.ids, grid("1123 1123").int())
    assert [s["instance_id"] for s in result.segments_info] == [0, 1, 2]


@pytest.mark.parametrize(("score", "kept"), [(0.5, True), (0.49, False)])
def test_the_score_threshold_itself_is_kept(score: float, kept: bool) -> None:
    result = merge("0000 0000", ["1100 1100"], [CAR], [score])
    assert any(s["isthing"] for s in result.segments_info) is kept


@pytest.mark.parametrize(("limit", "kept"), [(4, True), (5, False)])
def test_stuff_at_the_area_limit_is_kept(limit: int, kept: bool) -> None:
    # 4 pixels of road remain beside the car.
    result = merge("0000 0000", ["1100 1100"], [CAR], [0.9], stuff_area_limit=limit)
    assert torch.equal(result.ids, grid("1122 1122" if kept else "1100 1100").int())


def test_an_overlap_of_exactly_the_threshold_is_kept() -> None:
    # 29 of 100 pixels taken: 29 / 100 is 0.29, while 0.29 * 100 is 28.999... in floating point.
    first = torch.zeros(10, 10, dtype=torch.bool)
    first.view(-1)[:29] = True
    masks = BoxMasks.from_full(torch.stack([first, torch.ones(10, 10, dtype=torch.bool)]))
    labels = torch.zeros(10, 10, dtype=torch.int64)
    result = score_order_merge(
        labels, masks, torch.tensor([0, 0]), torch.tensor([0.9, 0.8]), STREET, overlap_threshold=0.29
    )
    assert [s["area"] for s in result.segments_info] == [29, 71]


def test_empty_and_wholly_covered_instances_make_no_segment() -> None:
    masks = ["1110 1110", "0000 0000", "0110 0110"]
    result = merge("0000 0000", masks, [CAR, CAR, CAR], [0.9, 0.8, 0.7], overlap_threshold=1.0)
    assert torch.equal(result.ids, grid("1112 1112").int())
    assert [s["area"] for s in result.segments_info] == [6, 2]


def test_ignored_labels_are_void() -> None:
    labels = torch.full((3, 3), 255, dtype=torch.uint8)
    result = score_order_merge(
        labels, BoxMasks.from_full(torch.zeros(0, 3, 3, dtype=torch.bool)), torch.zeros(0), torch.zeros(0), STREET
    )
    assert not result.ids.any() and result.segments_info == []


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 6),
    overlap=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    limit=st.integers(1, 30),
    score_threshold=st.sampled_from([0.0, 0.5]),
)
def test_equals_detectron2_where_label_0_means_things(
    seed: int, count: int, overlap: float, limit: int, score_threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    height, width = 12, 17
    labels = torch.from_numpy(np.kron(rng.integers(0, 4, (3, 4)), np.ones((4, 5), dtype=np.int64))[:, :width])
    full = torch.zeros(count, height, width, dtype=torch.bool)
    for mask in full:
        (top, bottom), (left, right) = np.sort(rng.integers(0, height + 1, 2)), np.sort(rng.integers(0, width + 1, 2))
        mask[top:bottom, left:right] = torch.from_numpy(rng.random((bottom - top, right - left)) < 0.8)
    # Distinct scores: Detectron2's order of equal ones is left to the sort.
    scores = torch.from_numpy(rng.permutation(np.linspace(0.2, 0.95, count)).astype(np.float32))
    classes = torch.from_numpy(rng.integers(0, 2, count))
    instances = Instances((height, width), pred_masks=full, scores=scores, pred_classes=classes)
    ids, info = combine_semantic_and_instance_outputs(instances, labels, overlap, limit, score_threshold)
    ours = score_order_merge(
        labels, BoxMasks.from_full(full), classes, scores, SEPARATED,
        overlap_threshold=overlap, stuff_area_limit=limit, score_threshold=score_threshold,
    )  # fmt: skip
    assert torch.equal(ours.ids, ids)
    # Ours tells the area of things as well; the rest is the same, in the same order.
    assert [{k: v for k, v in s.items() if k in t} for s, t in zip(ours.segments_info, info, strict=True)] == info
    for segment in ours.segments_info:
        assert segment["area"] == int((ids == segment["id"]).sum())
