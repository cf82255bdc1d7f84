from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.pretend_device import DEVICE, PretendDevice
from detectron2.modeling.meta_arch.panoptic_fpn import combine_semantic_and_instance_outputs
from detectron2.structures import Instances
from drawn_maps import CAR, PERSON, SEPARATED, STREET, draw_map, draw_masks
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.fusion.score_order import merge_by_score
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.panoptic_map import PanopticMap


def merge(labels: str, masks: list[str], classes: list[int], scores: list[float], **options: object) -> PanopticMap:
    semantic = draw_map(labels)
    inputs = (semantic, draw_masks(masks, semantic.shape), torch.tensor(classes), torch.tensor(scores), STREET)
    return merge_by_score(*inputs, **{"stuff_area_limit": 1, **options})


def assert_same_on_a_device(
    expected: PanopticMap,
    labels: torch.Tensor,
    masks: BoxMasks,
    classes: torch.Tensor,
    scores: torch.Tensor,
    options: dict[str, Any],
) -> int:
    """Compare with the result on a pretended device; return how often it was waited for there."""
    with PretendDevice():
        inputs = [each.to(DEVICE) for each in (labels, masks, classes, scores)]
    with PretendDevice() as device:
        result = merge_by_score(*inputs, SEPARATED, **options)
    waits = device.counts.synchronizations()
    assert torch.equal(result.ids.cpu(), expected.ids) and result.segments_info == expected.segments_info
    return waits


def test_instances_come_by_score_then_stuff() -> None:
    # The car (0.9) comes first and keeps its 4 pixels. The person (0.8) has 3, of which 1 is the car's: 1/3 <= 0.5,
    # so it keeps 2. Of label 0 (road) 4 pixels are free and of label 1 (sky) 5; the pixel of label 4 in the
    # last row is a thing without an instance: void.
    result = merge(
        "1111 1441 0440 0004",
        masks=["0000 0110 0110 0000", "0000 0100 1000 1000"],
        classes=[CAR, PERSON],
        scores=[0.9, 0.8],
    )
    # Row 0 sky; row 1 sky, car, car, sky; row 2 person, car, car, road; row 3 person, road, road, void.
    assert torch.equal(result.ids, draw_map("4444 4114 2113 2330", torch.int32))
    assert result.segments_info == [
        {"id": 1, "isthing": True, "category_id": CAR, "area": 4, "score": pytest.approx(0.9), "instance_id": 0},
        {"id": 2, "isthing": True, "category_id": PERSON, "area": 2, "score": pytest.approx(0.8), "instance_id": 1},
        {"id": 3, "isthing": False, "category_id": 0, "area": 3},
        {"id": 4, "isthing": False, "category_id": 1, "area": 6},
    ]


def test_semantic_id_0_is_stuff() -> None:
    result = merge("0000 0000 0000 1111", masks=[], classes=[], scores=[])
    assert torch.equal(result.ids, draw_map("1111 1111 1111 2222", torch.int32))
    assert [s["category_id"] for s in result.segments_info] == [0, 1]


def test_overlapping_instance_of_lower_score_is_dropped() -> None:
    # Both cover the same two middle columns and one of their own; the second has the higher score. The first is left
    # with 4 of 12 pixels: 8/12 > 0.5 are taken, so it is dropped and its column is road.
    masks = ["1110 1110 1110 1110", "0111 0111 0111 0111"]
    inputs = ("0000 0000 0000 0000", masks, [CAR, CAR], [0.6, 0.7])
    dropped, kept = merge(*inputs), merge(*inputs, overlap_threshold=0.7)
    for result, is_thing in ((dropped, [True, False]), (kept, [True, True])):
        assert torch.equal(result.ids, draw_map("2111 2111 2111 2111", torch.int32))
        assert result.segments_info[0]["instance_id"] == 1
        assert [s["isthing"] for s in result.segments_info] == is_thing


def test_lower_index_comes_first_at_equal_scores() -> None:
    masks = ["1100 1100", "0110 0110", "0011 0011"]
    # 0 takes columns 0 and 1; 1 has half of its pixels taken, not more than 0.5, and keeps column 2; 2 keeps column 3.
    result = merge("0000 0000", masks, [CAR] * 3, [0.8] * 3)
    assert torch.equal(result.ids, draw_map("1123 1123", torch.int32))
    assert [s["instance_id"] for s in result.segments_info] == [0, 1, 2]


@pytest.mark.parametrize(("score", "kept"), [(0.5, True), (0.49, False)])
def test_score_threshold_is_inclusive(score: float, kept: bool) -> None:
    result = merge("0000 0000", ["1100 1100"], [CAR], [score])
    assert any(s["isthing"] for s in result.segments_info) is kept


@pytest.mark.parametrize(("limit", "expected"), [(4, "1122 1122"), (5, "1100 1100")])
def test_stuff_area_limit_is_inclusive(limit: int, expected: str) -> None:
    # 4 pixels of road remain beside the car.
    result = merge("0000 0000", ["1100 1100"], [CAR], [0.9], stuff_area_limit=limit)
    assert torch.equal(result.ids, draw_map(expected, torch.int32))


def test_overlap_of_exactly_the_threshold_is_kept() -> None:
    # 29 of 100 pixels taken: 29 / 100 is 0.29, while 0.29 * 100 is 28.999... in floating point.
    masks = [" ".join(["1" * 10] * 2 + ["1" * 9 + "0"] + ["0" * 10] * 7), " ".join(["1" * 10] * 10)]
    result = merge(" ".join(["0" * 10] * 10), masks, [PERSON, PERSON], [0.9, 0.8], overlap_threshold=0.29)
    assert [s["area"] for s in result.segments_info] == [29, 71]


def test_empty_and_covered_instances_make_no_segment() -> None:
    masks = ["1110 1110", "0000 0000", "0110 0110"]
    result = merge("0000 0000", masks, [CAR, CAR, CAR], [0.9, 0.8, 0.7], overlap_threshold=1.0)
    assert torch.equal(result.ids, draw_map("1112 1112", torch.int32))
    assert [s["area"] for s in result.segments_info] == [6, 2]


def test_ignored_labels_are_void() -> None:
    labels = torch.full((3, 3), 255, dtype=torch.uint8)
    result = merge_by_score(labels, draw_masks([], (3, 3)), torch.zeros(0), torch.zeros(0), STREET)
    assert not result.ids.any() and result.segments_info == []


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 6),
    overlap=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    limit=st.integers(1, 30),
    score_threshold=st.sampled_from([0.0, 0.5]),
)
def test_equals_detectron2_if_label_0_means_things(
    seed: int, count: int, overlap: float, limit: int, score_threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    height, width = 12, 17
    labels = torch.from_numpy(np.kron(rng.integers(0, 4, (3, 4)), np.ones((4, 5), dtype=np.int64))[:, :width])
    full = torch.zeros(count, height, width, dtype=torch.bool)
    for mask in full:
        (top, bottom), (left, right) = np.sort(rng.integers(0, height + 1, 2)), np.sort(rng.integers(0, width + 1, 2))
        mask[top:bottom, left:right] = torch.from_numpy(rng.random((bottom - top, right - left)) < 0.8)
    # Distinct scores: Detectron2 leaves the order of equal ones to the sort.
    scores = torch.from_numpy(rng.permutation(np.linspace(0.2, 0.95, count)).astype(np.float32))
    classes = torch.from_numpy(rng.integers(0, 2, count))
    instances = Instances((height, width), pred_masks=full, scores=scores, pred_classes=classes)
    ids, infos = combine_semantic_and_instance_outputs(instances, labels, overlap, limit, score_threshold)
    options = {"overlap_threshold": overlap, "stuff_area_limit": limit, "score_threshold": score_threshold}
    merged = merge_by_score(labels, BoxMasks.from_full(full), classes, scores, SEPARATED, **options)
    assert_same_on_a_device(merged, labels, BoxMasks.from_full(full), classes, scores, options)
    assert torch.equal(merged.ids, ids)
    # Detectron2 gives no area of things; the rest is the same, in the same order.
    assert len(merged.segments_info) == len(infos)
    for segment, info in zip(merged.segments_info, infos):
        assert {key: segment[key] for key in info} == info
        assert segment["area"] == int((ids == segment["id"]).sum())


@pytest.mark.parametrize("count", [3, 60])
def test_an_accelerator_is_waited_for_once_a_block_of_instances(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    labels = torch.randint(0, 4, (40, 60), generator=generator)
    labels[:3] = SEPARATED.ignore_label
    full = torch.zeros(count, 40, 60, dtype=torch.bool)
    for mask in full:
        top, left = (int(torch.randint(0, 30, (1,), generator=generator)) for _ in range(2))
        mask[top : top + 12, left : left + 9] = True
    classes = torch.randint(0, 2, (count,), generator=generator)
    scores = torch.rand(count, generator=generator)
    options = {"stuff_area_limit": 20}
    expected = merge_by_score(labels, BoxMasks.from_full(full), classes, scores, SEPARATED, **options)
    waits = assert_same_on_a_device(expected, labels, BoxMasks.from_full(full), classes, scores, options)
    # Of two blocks the first must know all scores before.
    assert waits <= (1 if count < 47 else 3)
