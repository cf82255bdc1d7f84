"""`fuse_semantic_guided`: drawn maps for each step, and a plain reference, on the CPU and on a pretended device."""

import math
from unittest.mock import patch

import numpy as np
import pytest
import torch
from benchmarks.pretend_device import DEVICE, PretendDevice
from benchmarks.streets import make_street, unified_table
from drawn_maps import (
    CAR,
    PERSON,
    RIDER,
    SEPARATED,
    STREET,
    STREET_CLASSES,
    STUFF_ONLY,
    TABLES,
    TRUCK,
    draw_map,
    draw_masks,
    make_table,
)
from fusion_cases import assert_as_reference, assert_same, draw_blocks, draw_options
from fusion_reference import reference_fusion
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.fusion import claims, tensor_steps
from unified_seg.fusion.region_sweeps import RegionSweeps
from unified_seg.fusion.semantic_guided import SemanticGuidedOptions, SemanticGuidedResult, fuse_semantic_guided
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable


def fuse(
    labels: str, masks: list[str], things: list[int], scores: list[float], **options: object
) -> SemanticGuidedResult:
    """Fuse drawn maps; by default nothing is too small."""
    return fuse_both(draw_map(labels, torch.uint8), masks, things, scores, **options)


def fuse_both(
    labels: torch.Tensor,
    masks: list[str],
    things: list[int],
    scores: list[float],
    table: ClassTable = STREET,
    **options: object,
) -> SemanticGuidedResult:
    """Return the result of the compiled steps, which must be that of the tensor steps."""
    chosen = SemanticGuidedOptions(**{"min_stuff_area": 0.0, "min_segment_area": 0.0, **options})
    drawn = draw_masks(masks, labels.shape)
    inputs = (labels, drawn, torch.tensor(things, dtype=torch.int64), torch.tensor(scores), table, chosen)
    return run_both(*inputs)


def run_both(*inputs: object) -> SemanticGuidedResult:
    result = fuse_semantic_guided(*inputs)
    tensors, others = inputs[:4], inputs[4:]
    with PretendDevice():
        assert_same(fuse_semantic_guided(*(each.to(DEVICE) for each in tensors), *others), result)
    return result


def test_instance_keeps_its_mask_on_labels_of_its_category() -> None:
    # The car's mask covers 6 pixels: two of road (background), one of a person (another category), one of car, two of
    # truck (its category). It keeps the last three, and they become car.
    result = fuse("0002 0455 1111", ["0011 0111 0010"], [CAR], [0.9], min_segment_area=1.0)
    # (1,1) and (1,2), (1,3) are the car's; road is segment 2, sky 3; the person's pixel is void.
    assert torch.equal(result.panoptic.ids, draw_map("2220 2111 3333", torch.int32))
    assert torch.equal(result.labels, draw_map("0002 0444 1111", torch.uint8))
    assert result.panoptic.segments_info == [
        {"id": 1, "isthing": True, "category_id": CAR, "area": 3, "score": pytest.approx(0.9), "instance_id": 0},
        {"id": 2, "isthing": False, "category_id": 0, "area": 4},
        {"id": 3, "isthing": False, "category_id": 1, "area": 4},
    ]
    assert torch.equal(result.masks.full()[0], draw_map("0000 0111 0000").bool())


def test_higher_score_takes_first_and_too_much_overlap_drops() -> None:
    # All is car. The second instance is better and takes its 4 pixels. Of the first one's 4 pixels 2 are taken: exactly
    # half, which is allowed. Of the third one's 3 pixels 2 are taken: dropped.
    masks = ["111100", "001111", "000111"]
    result = fuse("444444", masks, [CAR, CAR, TRUCK], [0.8, 0.9, 0.7])
    assert torch.equal(result.panoptic.ids, draw_map("221111", torch.int32))
    assert [s["instance_id"] for s in result.panoptic.segments_info] == [1, 0]
    assert result.kept.tolist() == [True, True, False]
    # The dropped one keeps its own mask for AP; the first is cut to what it owns.
    assert torch.equal(result.masks.full(), draw_masks(["110000", "001111", "000111"], (1, 6)).full())


def test_overlap_is_measured_on_the_matched_area() -> None:
    # The second car's mask has 6 pixels, 4 of them road. Of the 2 matched ones 1 is taken: half, kept. Of all its 6
    # pixels only a sixth would be: with a threshold of 0.4 it must be dropped all the same.
    drawn = ("0000 0444", ["0000 0110", "1111 0011"], [CAR, CAR], [0.9, 0.8])
    assert fuse(*drawn).kept.tolist() == [True, True]
    assert fuse(*drawn, overlap_threshold=0.4).kept.tolist() == [True, False]


def test_lower_index_comes_first_and_thresholds_are_inclusive() -> None:
    result = fuse("4444", ["0110", "0111"], [CAR, TRUCK], [0.5, 0.5], overlap_threshold=1.0)
    # The car owns columns 1 and 2, the truck column 3; column 0 is next to the car.
    assert torch.equal(result.panoptic.ids, draw_map("1112", torch.int32))
    assert fuse("4444", ["0110"], [CAR], [0.49]).kept.tolist() == [False, True]  # left out, and found by the labels


def test_free_foreground_goes_to_the_geodesically_nearest_owner() -> None:
    # A vehicle bent around a piece of road: the truck owns its top left, the car its bottom right. Along the vehicle
    # (0,1) .. (0,4), (1,4), (2,4) .. (2,1): distances to the truck 1 2 3 4 5 6 7, to the car's (2,3) 6 5 4 3 2 1 ...
    result = fuse("55555 00005 00044", ["10000 00000 00000", "00000 00000 00010"], [TRUCK, CAR], [0.9, 0.8])
    # free pixels: (0,1) 1:6, (0,2) 2:5, (0,3) 3:4 -> truck; (0,4) 4:3, (1,4) 5:2, (2,4) 6:1 -> car
    assert torch.equal(result.panoptic.ids[result.panoptic.ids <= 2], torch.tensor([1, 1, 1, 1, 2, 2, 2, 2]).int())
    assert torch.equal(result.labels, draw_map("55554 00004 00044", torch.uint8))
    assert [s["area"] for s in result.panoptic.segments_info[:2]] == [4, 4]


def test_tie_goes_to_the_higher_score() -> None:
    for scores, owner_of_the_middle in (([0.8, 0.9], CAR), ([0.9, 0.8], TRUCK)):
        result = fuse("44444", ["10000", "00001"], [TRUCK, CAR], scores)
        ids = result.panoptic.ids[0]
        segment = next(s for s in result.panoptic.segments_info if s["id"] == ids[2])
        assert segment["category_id"] == owner_of_the_middle


def test_instances_do_not_grow_through_other_categories() -> None:
    # A person at the left, a car in the middle, more person at the right that only the car touches.
    result = fuse("2244233", ["1000000", "0010000"], [RIDER, CAR], [0.9, 0.8], min_segment_area=1.0)
    assert torch.equal(result.panoptic.ids, draw_map("1122000", torch.int32))
    # What nobody reaches keeps its class; the rider's pixels become rider.
    assert torch.equal(result.labels, draw_map("3344233", torch.uint8))


def test_connectivity_8_follows_diagonals() -> None:
    drawn = ("400 040 000", ["100 000 000"], [CAR], [0.9])
    # The second pixel is found by the semantic map.
    assert torch.equal(fuse(*drawn).panoptic.ids, draw_map("133 323 333", torch.int32))
    assert torch.equal(fuse(*drawn, connectivity=8).panoptic.ids, draw_map("122 212 222", torch.int32))


def test_large_components_are_found_and_small_ones_are_void() -> None:
    # Without any detection: a person of 3 pixels, a rider of 3 that touches it, and a car of 1. With 12 pixels a limit
    # of 0.25 means 3 pixels: the two people are found, one by one since their classes differ, and the car is void.
    result = fuse("2233 2013 0114", [], [], [], min_segment_area=0.25)
    assert torch.equal(result.panoptic.ids, draw_map("1122 1342 3440", torch.int32))
    assert torch.equal(result.labels, draw_map("2233 2013 0114", torch.uint8))
    people = result.panoptic.segments_info[:2]
    assert [(s["category_id"], s["area"], s["score"], s["instance_id"]) for s in people] == [
        (PERSON, 3, 0.0, 0),
        (RIDER, 3, 0.0, 1),
    ]
    assert result.found.tolist() == [True, True] == result.kept.tolist()
    assert torch.equal(result.masks.full()[1], draw_map("0011 0001 0000").bool())
    assert len(fuse("2233 2013 0114", [], [], [], min_segment_area=0.26).panoptic.segments_info) == 2


def test_more_instances_are_found_than_two_bytes_can_number() -> None:
    # Cars and trucks in turn: each of the 190 x 190 = 36,100 pixels is an instance.
    labels = (torch.arange(190)[:, None] + torch.arange(190)) % 2 + 4
    nothing = (draw_masks([], labels.shape), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    result = fuse_semantic_guided(labels, *nothing, STREET, SemanticGuidedOptions(min_segment_area=0.0))
    assert torch.equal(result.panoptic.ids.flatten(), torch.arange(1, 190 * 190 + 1, dtype=torch.int32))


def test_small_stuff_is_void() -> None:
    # 8 pixels: road has 3, sky 5. A limit of 0.5 means 4.
    result = fuse("0001 1111", [], [], [], min_stuff_area=0.5)
    assert torch.equal(result.panoptic.ids, draw_map("0001 1111", torch.int32))
    assert result.panoptic.segments_info == [{"id": 1, "isthing": False, "category_id": 1, "area": 5}]
    assert len(fuse("0001 1111", [], [], [], min_stuff_area=0.375).panoptic.segments_info) == 2


def test_ignored_pixels_are_void_and_stay_ignored() -> None:
    labels = torch.tensor([[255, 4, 4, 255]], dtype=torch.uint8)
    result = fuse_both(labels, ["1111"], [TRUCK], [0.9])
    assert result.panoptic.ids.tolist() == [[0, 1, 1, 0]]
    assert result.labels.tolist() == [[255, 5, 5, 255]]


@pytest.mark.parametrize("ignore_label", [-1, -100, -(10**9), 10**9])
def test_ignore_label_may_be_any_other_number(ignore_label: int) -> None:
    table = make_table(*STREET_CLASSES, ignore_label=ignore_label)
    result = fuse_both(torch.tensor([[ignore_label, 4, 4, 0]]), ["1111"], [TRUCK], [0.9], table)
    assert result.panoptic.ids.tolist() == [[0, 1, 1, 2]]
    assert result.labels.tolist() == [[ignore_label, 5, 5, 0]]


def test_ignore_label_beyond_the_labels_type_is_no_class() -> None:
    # As 8 bits -252 would be 4, a car.
    table = make_table(*STREET_CLASSES, ignore_label=-252)
    result = fuse_both(torch.tensor([[4, 0]], dtype=torch.uint8), ["11"], [CAR], [0.9], table)
    assert result.panoptic.ids.tolist() == [[1, 2]]


def test_nothing_is_found_if_things_share_a_label() -> None:
    # Label 0 means "a thing": the car (thing 1) fills its component, the other component has no class.
    result = fuse_both(torch.tensor([[0, 0, 1, 0]]), ["1000"], [1], [0.9], SEPARATED)
    assert result.panoptic.ids.tolist() == [[1, 1, 2, 0]]
    assert len(result.masks) == 1


@st.composite
def cases(draw: st.DrawFn) -> tuple:
    """Draw inputs: maps of blocks with noise, and instances that overlap, nest, touch, or are empty."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    table = draw(st.sampled_from(TABLES))
    labels = draw_blocks(draw, rng, table, 40)
    height, width = labels.shape
    noise = rng.random(labels.shape) < draw(st.sampled_from([0.0, 0.05]))
    labels = np.where(noise, rng.integers(0, table.num_semantic, labels.shape), labels)
    labels[rng.random(labels.shape) < draw(st.sampled_from([0.0, 0.02]))] = table.ignore_label
    count = draw(st.integers(0, 7)) if table.num_things else 0
    masks = np.zeros((count, height, width), dtype=bool)
    for mask in masks:
        (top, bottom), (left, right) = np.sort(rng.integers(0, height + 1, 2)), np.sort(rng.integers(0, width + 1, 2))
        mask[top:bottom, left:right] = rng.random((bottom - top, right - left)) < rng.choice([0.5, 1.0])
    options = draw_options(draw, [0.0, 0.3, 0.5, 1.0])
    return (
        torch.from_numpy(labels.astype(draw(st.sampled_from([np.uint8, np.int16, np.int64])))),
        BoxMasks.from_full(torch.from_numpy(masks)),
        torch.from_numpy(rng.integers(0, max(table.num_things, 1), count)),
        torch.from_numpy(rng.choice([0.3, 0.5, 0.7, 0.9], count)),
        table,
        options,
    )


@settings(max_examples=200, deadline=None)
@given(cases())
def test_equals_the_plain_reference(case: tuple) -> None:
    labels, masks, things, scores, table, options = case
    ids, refined, segments = reference_fusion(
        labels.numpy(), masks.full().numpy(), things.tolist(), scores.tolist(), table, options
    )
    result = run_both(*case)
    assert_as_reference(result, ids, refined, segments)
    assert_invariants(case, result)


def assert_invariants(case: tuple, result: SemanticGuidedResult) -> None:
    _, masks, _, scores, *_ = case
    given = len(masks)
    full, ids = result.masks.full(), result.panoptic.ids
    assert len(full) == len(result.thing_ids) == len(result.scores) == len(result.kept) == len(result.found)
    assert torch.equal(result.found, torch.arange(len(full)) >= given)
    assert torch.equal(result.scores[:given], scores)
    assert (result.kept & result.found).sum() == result.found.sum()
    for segment in result.panoptic.segments_info:
        assert (ids == segment["id"]).sum() == segment["area"]
        if segment["isthing"]:
            assert torch.equal(full[segment["instance_id"]], ids == segment["id"])
            assert result.thing_ids[segment["instance_id"]] == segment["category_id"]
            assert result.scores[segment["instance_id"]] == segment["score"]
    dropped = (~result.kept).nonzero()[:, 0]
    assert torch.equal(full[dropped], masks.full()[dropped])
    assert [s["id"] for s in result.panoptic.segments_info] == list(range(1, len(result.panoptic.segments_info) + 1))


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 3), st.sampled_from([1, 3]))
def test_any_split_of_the_work_gives_the_same_result(case: tuple, masks: int, rounds: int) -> None:
    """Few masks or patterns at a time, and regions that grow on the CPU after few rounds."""
    expected = fuse_semantic_guided(*case)
    with (
        patch.object(claims, "MASKS", masks),
        patch.object(RegionSweeps.relax, "__defaults__", (rounds,)),
        patch.object(tensor_steps, "MEASURED", 2),
        PretendDevice(),
    ):
        assert_same(fuse_semantic_guided(*(each.to(DEVICE) for each in case[:4]), *case[4:]), expected)


def test_too_many_patterns_are_split() -> None:
    """Of 12 masks each pair overlaps somewhere: with their labels far more patterns than fit into a small table."""
    labels = torch.randint(2, 6, (40, 40), generator=torch.Generator().manual_seed(0)).byte()
    full = torch.rand(12, 40, 40, generator=torch.Generator().manual_seed(1)) > 0.5
    scores = torch.rand(12, generator=torch.Generator().manual_seed(2))
    case = (labels, BoxMasks.from_full(full), torch.arange(12) % 4, scores, STREET)
    options = SemanticGuidedOptions(score_threshold=0.1, overlap_threshold=0.9, min_segment_area=0.0)
    with patch.object(claims, "MAX_PATTERNS", 1):
        run_both(*case, options)


def test_operators_and_synchronizations_are_few() -> None:
    """At any number of instances and pixels; regions that wind cost no more."""
    for winding in (False, True):
        street = make_street((256, 512), 40, winding)
        with PretendDevice() as device, torch.no_grad():
            masks = BoxMasks.from_soft(street.soft_masks.to(DEVICE), street.boxes.to(DEVICE), (256, 512))
            assert device.counts.operators <= 70 and device.counts.synchronizations() <= 3
            inputs = (street.labels.to(DEVICE), masks, street.thing_ids.to(DEVICE), street.scores.to(DEVICE))
        with PretendDevice() as device, torch.no_grad():
            result = fuse_semantic_guided(*inputs, unified_table())
        assert device.counts.operators <= 150 and device.counts.synchronizations() <= 3, device.counts
        with PretendDevice():
            expected = fuse_semantic_guided(
                street.labels, street.masks(), street.thing_ids, street.scores, unified_table()
            )
            assert_same(result, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@settings(max_examples=200, deadline=None)
@given(cases())
def test_cuda_equals_the_cpu(case: tuple) -> None:
    tensors, others = case[:4], case[4:]
    assert_same(fuse_semantic_guided(*(tensor.cuda() for tensor in tensors), *others), fuse_semantic_guided(*case))


ONE_CAR = {
    "labels": torch.zeros(4, 5, dtype=torch.uint8),
    "masks": BoxMasks.from_full(torch.ones(1, 4, 5, dtype=torch.bool)),
    "thing_ids": torch.tensor([CAR]),
    "scores": torch.tensor([0.9]),
    "table": STREET,
}
BEYOND_THE_IMAGE = BoxMasks(torch.tensor([[2, 0, 6, 4]]), [torch.ones(4, 4, dtype=torch.bool)], (4, 5))
LARGER_THAN_ITS_WINDOW = BoxMasks(torch.tensor([[0, 0, 5, 4]]), [torch.ones(40, 50, dtype=torch.bool)], (4, 5))


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({"masks": BoxMasks.from_full(torch.ones(1, 5, 4, dtype=torch.bool))}, r"masks: .*\(5, 4\)"),
        ({"masks": BEYOND_THE_IMAGE}, r"masks: mask 0 .*x 2 \.\. 6"),
        ({"masks": LARGER_THAN_ITS_WINDOW}, r"masks: mask 0 of \(40, 50\)"),
        ({"labels": torch.zeros(4, 5)}, "labels: .*float"),
        ({"labels": torch.full((4, 5), 6)}, r"labels: \[6\].* 255"),
        ({"labels": torch.full((4, 5), -1)}, r"labels: \[-1\]"),
        ({"thing_ids": torch.tensor([4])}, r"thing_ids: \[4\]"),
        ({"thing_ids": torch.tensor([-1])}, r"thing_ids: \[-1\]"),
        ({"scores": torch.tensor([math.nan])}, r"scores .*\[nan\]"),
        ({"scores": torch.tensor([0.9, 0.8])}, "1, 1 and 2"),
        ({"table": STUFF_ONLY}, r"thing_ids: \[2\].* 0 things"),
    ],
)
def test_invalid_input_is_an_error(invalid: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuse_semantic_guided(**{**ONE_CAR, **invalid})


@pytest.mark.parametrize(("name", "value"), [("overlap_threshold", 1.5), ("min_stuff_area", 4096), ("connectivity", 6)])
def test_option_out_of_range_is_an_error(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        SemanticGuidedOptions(**{name: value})
