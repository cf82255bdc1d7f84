"""`semantic_guided_fusion`: drawn maps for each step, and the reference pixel for pixel, on both of its ways to run."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from fusion_reference import reference_fusion
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unified_seg.fusion import panoptic as panoptic_fusion
from unified_seg.fusion.panoptic import GuidedFusion, semantic_guided_fusion
from unified_seg.fusion.steps import fuse_tensors
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable, SegmentClass

BLACK = (0, 0, 0)
# 0 road, 1 sky; 2 person and 3 rider are human; 4 car and 5 truck are vehicles. Thing ids 0 .. 3 in that order.
STREET = ClassTable(
    [
        SegmentClass("road", 0, None, 7, "flat", BLACK),
        SegmentClass("sky", 1, None, 23, "sky", BLACK),
        SegmentClass("person", 2, 0, 24, "human", BLACK),
        SegmentClass("rider", 3, 1, 25, "human", BLACK),
        SegmentClass("car", 4, 2, 26, "vehicle", BLACK),
        SegmentClass("truck", 5, 3, 27, "vehicle", BLACK),
    ]
)
PERSON, RIDER, CAR, TRUCK = range(4)
# As COCO separated: one label for all things.
SHARED = ClassTable(
    [
        SegmentClass("person", 0, 0, 1, "person", BLACK),
        SegmentClass("car", 0, 1, 2, "car", BLACK),
        SegmentClass("grass", 1, None, 3, "grass", BLACK),
    ]
)
THINGS_ONLY = ClassTable([SegmentClass("cat", 0, 0, 1, "pet", BLACK), SegmentClass("dog", 1, 1, 2, "pet", BLACK)])
STUFF_ONLY = ClassTable([SegmentClass("a", 0, None, 1, "a", BLACK), SegmentClass("b", 1, None, 2, "b", BLACK)])
TABLES = [STREET, SHARED, THINGS_ONLY, STUFF_ONLY]
NO_LIMITS = {"min_stuff_area": 0.0, "min_segment_area": 0.0}


@pytest.fixture(params=["compiled", "tensors"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the steps as the CPU does, or as other devices do (here on the CPU too)."""
    if request.param == "tensors":
        monkeypatch.setattr(panoptic_fusion, "fuse_compiled", fuse_tensors)
    return request.param


def grid(text: str) -> Tensor:
    return torch.tensor([[int(c) for c in row] for row in text.split()])


def fuse(labels: str, masks: list[str], things: list[int], scores: list[float], **options: object) -> GuidedFusion:
    """`semantic_guided_fusion` on drawn maps: a row is a word, a mask has 1 where the instance is."""
    semantic = grid(labels).to(torch.uint8)
    full = torch.stack([grid(m).bool() for m in masks]) if masks else torch.zeros(0, *semantic.shape, dtype=torch.bool)
    return semantic_guided_fusion(
        semantic,
        BoxMasks.from_full(full),
        torch.tensor(things, dtype=torch.int64),
        torch.tensor(scores),
        STREET,
        **{**NO_LIMITS, **options},
    )


pytestmark = pytest.mark.usefixtures("way")


def test_step_1_and_2_an_instance_keeps_its_mask_where_the_label_is_of_its_category() -> None:
    # The car's mask covers 6 pixels: two of road (background), one of a person (another category), one of car, two of
    # truck (its category). It keeps the last three, and they become car.
    result = fuse("0002 0455 1111", ["0011 0111 0010"], [CAR], [0.9], min_segment_area=1.0)
    # (1,1) and (1,2), (1,3) are the car's; road is segment 2, sky 3; the person's pixel is void.
    assert torch.equal(result.panoptic.ids, grid("2220 2111 3333").int())
    assert torch.equal(result.labels, grid("0002 0444 1111").to(torch.uint8))
    assert result.panoptic.segments_info == [
        {"id": 1, "isthing": True, "category_id": CAR, "area": 3, "score": pytest.approx(0.9), "instance_id": 0},
        {"id": 2, "isthing": False, "category_id": 0, "area": 4},
        {"id": 3, "isthing": False, "category_id": 1, "area": 4},
    ]
    assert torch.equal(result.masks.full()[0], grid("0000 0111 0000").bool())


def test_step_2_a_better_instance_takes_first_and_too_much_overlap_drops() -> None:
    # All is car. The second instance is better and takes its 4 pixels. Of the first one's 4 pixels 2 are taken: exactly
    # half, which is allowed. Of the third one's 3 pixels 2 are taken: dropped.
    masks = ["111100", "001111", "000111"]
    result = fuse("444444", masks, [CAR, CAR, TRUCK], [0.8, 0.9, 0.7])
    assert torch.equal(result.panoptic.ids, grid("221111").int())
    assert [s["instance_id"] for s in result.panoptic.segments_info] == [1, 0]
    assert result.kept.tolist() == [True, True, False]
    # The dropped one keeps its own mask for AP; the first is cut to what it owns.
    assert torch.equal(result.masks.full(), torch.stack([grid(m)[:].bool() for m in ["110000", "001111", "000111"]]))


def test_step_2_overlap_is_measured_on_the_matched_area_alone() -> None:
    # The second car's mask has 6 pixels, 4 of them road. Of the 2 matched ones 1 is taken: half, kept. Of all its 6
    # pixels only a sixth would be: with a threshold of 0.4 it must be dropped all the same.
    drawn = ("0000 0444", ["0000 0110", "1111 0011"], [CAR, CAR], [0.9, 0.8])
    assert fuse(*drawn).kept.tolist() == [True, True]
    assert fuse(*drawn, overlap_threshold=0.4).kept.tolist() == [True, False]


def test_step_2_of_equal_scores_the_lower_index_is_first_and_the_threshold_itself_counts() -> None:
    result = fuse("4444", ["0110", "0111"], [CAR, TRUCK], [0.5, 0.5], overlap_threshold=1.0)
    # The car owns columns 1 and 2, the truck column 3; column 0 is next to the car.
    assert torch.equal(result.panoptic.ids, grid("1112").int())
    assert fuse("4444", ["0110"], [CAR], [0.49]).kept.tolist() == [False, True]  # left out, and found by the labels


def test_step_3_free_foreground_goes_to_the_nearest_owner_along_its_category() -> None:
    # A vehicle bent around a piece of road: the truck owns its top left, the car its bottom right. Along the vehicle
    # (0,1) .. (0,4), (1,4), (2,4) .. (2,1): distances to the truck 1 2 3 4 5 6 7, to the car's (2,3) 6 5 4 3 2 1 ...
    result = fuse("55555 00005 00044", ["10000 00000 00000", "00000 00000 00010"], [TRUCK, CAR], [0.9, 0.8])
    # free pixels: (0,1) 1:6, (0,2) 2:5, (0,3) 3:4 -> truck; (0,4) 4:3, (1,4) 5:2, (2,4) 6:1 -> car
    assert torch.equal(result.panoptic.ids[result.panoptic.ids <= 2], torch.tensor([1, 1, 1, 1, 2, 2, 2, 2]).int())
    assert torch.equal(result.labels, grid("55554 00004 00044").to(torch.uint8))
    assert [s["area"] for s in result.panoptic.segments_info[:2]] == [4, 4]


def test_step_3_a_tie_goes_to_the_better_scored() -> None:
    for scores, owner_of_the_middle in (([0.8, 0.9], CAR), ([0.9, 0.8], TRUCK)):
        result = fuse("44444", ["10000", "00001"], [TRUCK, CAR], scores)
        ids = result.panoptic.ids[0]
        segment = next(s for s in result.panoptic.segments_info if s["id"] == ids[2])
        assert segment["category_id"] == owner_of_the_middle


def test_step_3_people_do_not_grow_through_cars() -> None:
    # A person at the left, a car in the middle, more person at the right that only the car touches.
    result = fuse("2244233", ["1000000", "0010000"], [RIDER, CAR], [0.9, 0.8], min_segment_area=1.0)
    assert torch.equal(result.panoptic.ids, grid("1122000").int())
    # What nobody reaches keeps its class; the rider's pixels become rider.
    assert torch.equal(result.labels, grid("3344233").to(torch.uint8))


def test_step_3_and_4_diagonals_by_option() -> None:
    drawn = ("400 040 000", ["100 000 000"], [CAR], [0.9])
    assert torch.equal(fuse(*drawn).panoptic.ids, grid("133 323 333").int())  # the second pixel is found by semantics
    assert torch.equal(fuse(*drawn, connectivity=8).panoptic.ids, grid("122 212 222").int())


def test_step_4_large_components_of_one_class_are_found_small_ones_are_void() -> None:
    # Without any detection: a person of 3 pixels, a rider of 3 that touches it, and a car of 1. With 12 pixels a limit
    # of 0.25 means 3 pixels: the two people are found, one by one since their classes differ, and the car is void.
    result = fuse("2233 2013 0114", [], [], [], min_segment_area=0.25)
    assert torch.equal(result.panoptic.ids, grid("1122 1342 3440").int())
    assert torch.equal(result.labels, grid("2233 2013 0114").to(torch.uint8))
    people = result.panoptic.segments_info[:2]
    assert [(s["category_id"], s["area"], s["score"], s["instance_id"]) for s in people] == [
        (PERSON, 3, 0.0, 0),
        (RIDER, 3, 0.0, 1),
    ]
    assert result.found.tolist() == [True, True] == result.kept.tolist()
    assert torch.equal(result.masks.full()[1], grid("0011 0001 0000").bool())
    assert len(fuse("2233 2013 0114", [], [], [], min_segment_area=0.26).panoptic.segments_info) == 2


def test_step_5_small_stuff_is_void() -> None:
    # 8 pixels: road has 3, sky 5. A limit of 0.5 means 4.
    result = fuse("0001 1111", [], [], [], min_stuff_area=0.5)
    assert torch.equal(result.panoptic.ids, grid("0001 1111").int())
    assert result.panoptic.segments_info == [{"id": 1, "isthing": False, "category_id": 1, "area": 5}]
    assert len(fuse("0001 1111", [], [], [], min_stuff_area=0.375).panoptic.segments_info) == 2


def test_ignored_pixels_are_void_and_stay_ignored() -> None:
    labels = torch.tensor([[255, 4, 4, 255]], dtype=torch.uint8)
    masks = BoxMasks.from_full(torch.ones(1, 1, 4, dtype=torch.bool))
    result = semantic_guided_fusion(labels, masks, torch.tensor([TRUCK]), torch.tensor([0.9]), STREET)
    assert result.panoptic.ids.tolist() == [[0, 1, 1, 0]]
    assert result.labels.tolist() == [[255, 5, 5, 255]]


@pytest.mark.parametrize("ignore_label", [-1, -100, -(10**9), 10**9])
def test_the_ignore_label_may_be_any_number_that_is_no_class(ignore_label: int) -> None:
    table = ClassTable(STREET.classes, ignore_label)
    labels = torch.tensor([[ignore_label, 4, 4, 0]])
    masks = BoxMasks.from_full(torch.ones(1, 1, 4, dtype=torch.bool))
    result = semantic_guided_fusion(labels, masks, torch.tensor([TRUCK]), torch.tensor([0.9]), table)
    assert result.panoptic.ids.tolist() == [[0, 1, 1, 2]]
    assert result.labels.tolist() == [[ignore_label, 5, 5, 0]]


def test_an_ignore_label_beyond_the_type_of_the_labels_is_no_class() -> None:
    # As 8 bits -252 would be 4, a car.
    table = ClassTable(STREET.classes, -252)
    labels = torch.tensor([[4, 0]], dtype=torch.uint8)
    masks = BoxMasks.from_full(torch.ones(1, 1, 2, dtype=torch.bool))
    result = semantic_guided_fusion(labels, masks, torch.tensor([CAR]), torch.tensor([0.9]), table)
    assert result.panoptic.ids.tolist() == [[1, 2]]


def test_where_things_share_a_label_nothing_is_found() -> None:
    # Label 0 means "a thing": the car fills all of its piece, the other piece has no class to be named by.
    labels = torch.tensor([[0, 0, 1, 0]])
    masks = BoxMasks.from_full(torch.tensor([[[True, False, False, False]]]))
    result = semantic_guided_fusion(labels, masks, torch.tensor([1]), torch.tensor([0.9]), SHARED, **NO_LIMITS)
    assert result.panoptic.ids.tolist() == [[1, 1, 2, 0]]
    assert len(result.masks) == 1


@st.composite
def cases(draw: st.DrawFn) -> dict[str, object]:
    """Maps of blocks with noise; instances that overlap, nest, touch, are empty, are of neighbors' classes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    table = draw(st.sampled_from(TABLES))
    height, width = draw(st.integers(1, 64)), draw(st.integers(1, 64))
    block = draw(st.sampled_from([1, 3, 8]))
    coarse = rng.integers(0, table.num_semantic, (height // block + 1, width // block + 1))
    labels = np.kron(coarse, np.ones((block, block), dtype=np.int64))[:height, :width]
    noise = rng.random(labels.shape) < draw(st.sampled_from([0.0, 0.05]))
    labels = np.where(noise, rng.integers(0, table.num_semantic, labels.shape), labels)
    labels[rng.random(labels.shape) < draw(st.sampled_from([0.0, 0.02]))] = table.ignore_label
    count = draw(st.integers(0, 7)) if table.num_things else 0
    masks = np.zeros((count, height, width), dtype=bool)
    for mask in masks:
        (top, bottom), (left, right) = np.sort(rng.integers(0, height + 1, 2)), np.sort(rng.integers(0, width + 1, 2))
        mask[top:bottom, left:right] = rng.random((bottom - top, right - left)) < rng.choice([0.5, 1.0])
    return {
        "labels": labels.astype(draw(st.sampled_from([np.uint8, np.int16, np.int64]))),
        "masks": masks,
        "things": rng.integers(0, max(table.num_things, 1), count).tolist(),
        "scores": rng.choice([0.3, 0.5, 0.7, 0.9], count).tolist(),
        "table": table,
        "options": {
            "score_threshold": draw(st.sampled_from([0.0, 0.5])),
            "overlap_threshold": draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])),
            "min_stuff_area": draw(st.sampled_from([0.0, 0.1])),
            "min_segment_area": draw(st.sampled_from([0.0, 0.01, 1.0])),
            "connectivity": draw(st.sampled_from([4, 8])),
        },
    }


def run(case: dict[str, object], device: str = "cpu") -> GuidedFusion:
    return semantic_guided_fusion(
        torch.from_numpy(case["labels"]).to(device),
        BoxMasks.from_full(torch.from_numpy(case["masks"]).to(device)),
        torch.tensor(case["things"], dtype=torch.int64, device=device),
        torch.tensor(case["scores"], dtype=torch.float64, device=device),
        case["table"],
        **case["options"],
    )


# The fixture, which hypothesis would not run anew for each example, changes nothing between them.
@settings(max_examples=500, deadline=None, suppress_health_check=["function_scoped_fixture"])
@given(cases())
def test_equals_the_reference_pixel_for_pixel(case: dict[str, object]) -> None:
    ids, refined, segments = reference_fusion(
        case["labels"], case["masks"], case["things"], case["scores"], case["table"], **case["options"]
    )
    result = run(case)
    assert torch.equal(result.panoptic.ids, torch.from_numpy(ids).int())
    assert torch.equal(result.labels, torch.from_numpy(refined))
    ours = [{k: v for k, v in s.items() if k not in ("id", "score")} for s in result.panoptic.segments_info]
    assert ours == segments
    check_invariants(case, result)


def check_invariants(case: dict[str, object], result: GuidedFusion) -> None:
    """What holds of every result, whatever the inputs."""
    given = len(case["masks"])
    full, ids = result.masks.full(), result.panoptic.ids
    assert len(full) == len(result.thing_ids) == len(result.scores) == len(result.kept) == len(result.found)
    assert torch.equal(result.found, torch.arange(len(full)) >= given)
    assert result.scores[:given].tolist() == case["scores"]
    assert (result.kept & result.found).sum() == result.found.sum()
    for segment in result.panoptic.segments_info:
        assert (ids == segment["id"]).sum() == segment["area"]
        if segment["isthing"]:
            assert torch.equal(full[segment["instance_id"]], ids == segment["id"])
            assert result.thing_ids[segment["instance_id"]] == segment["category_id"]
    for index in (~result.kept).nonzero()[:, 0].tolist():
        assert np.array_equal(full[index].numpy(), case["masks"][index])
    assert [s["id"] for s in result.panoptic.segments_info] == list(range(1, len(result.panoptic.segments_info) + 1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@settings(max_examples=200, deadline=None, suppress_health_check=["function_scoped_fixture"])
@given(cases())
def test_cuda_equals_the_cpu(case: dict[str, object]) -> None:
    on_cpu, on_gpu = run(case), run(case, "cuda")
    assert torch.equal(on_gpu.panoptic.ids.cpu(), on_cpu.panoptic.ids)
    assert torch.equal(on_gpu.labels.cpu(), on_cpu.labels)
    assert on_gpu.panoptic.segments_info == on_cpu.panoptic.segments_info
    assert torch.equal(on_gpu.masks.full().cpu(), on_cpu.masks.full())


ONE_CAR = {
    "labels": torch.zeros(4, 5, dtype=torch.uint8),
    "masks": BoxMasks.from_full(torch.ones(1, 4, 5, dtype=torch.bool)),
    "thing_ids": torch.tensor([CAR]),
    "scores": torch.tensor([0.9]),
    "table": STREET,
}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"masks": BoxMasks.from_full(torch.ones(1, 5, 4, dtype=torch.bool))}, r"masks for an image of \(5, 4\)"),
        (
            {"masks": BoxMasks(torch.tensor([[2, 0, 6, 4]]), [torch.ones(4, 4, dtype=torch.bool)], (4, 5))},
            r"mask 0 of \(4, 4\) \(H, W\) in the window x 2 .. 6, y 0 .. 4 of an image of 4x5",
        ),
        (
            {"masks": BoxMasks(torch.tensor([[0, 0, 5, 4]]), [torch.ones(40, 50, dtype=torch.bool)], (4, 5))},
            r"mask 0 of \(40, 50\) \(H, W\) in the window",
        ),
        ({"labels": torch.zeros(4, 5)}, "labels must be a map .* of integers"),
        (
            {"labels": torch.full((4, 5), 6)},
            r"labels \[6\] are neither semantic ids \(0 .. 5\) nor the ignore label 255",
        ),
        ({"labels": torch.full((4, 5), -1)}, r"labels \[-1\] are neither"),
        ({"thing_ids": torch.tensor([4])}, r"thing ids \[4\], but the class table has 4 things"),
        ({"thing_ids": torch.tensor([-1])}, r"thing ids \[-1\]"),
        ({"scores": torch.tensor([math.nan])}, r"scores must be numbers, got \[nan\]"),
        ({"scores": torch.tensor([0.9, 0.8])}, "1 masks, 1 classes and 2 scores"),
        ({"table": STUFF_ONLY}, r"thing ids \[2\], but the class table has 0 things"),
        ({"overlap_threshold": 1.5}, "overlap_threshold must be 0 to 1, got 1.5"),
        ({"min_stuff_area": 4096}, "min_stuff_area must be 0 to 1, got 4096"),
        ({"connectivity": 6}, "connectivity must be 4 or 8, got 6"),
    ],
)
def test_bad_input_is_refused(bad: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        semantic_guided_fusion(**{**ONE_CAR, **bad})


def test_an_empty_class_table_is_refused() -> None:
    with pytest.raises(ValueError, match="a class table needs at least one class"):
        ClassTable([])
