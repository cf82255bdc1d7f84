"""`fuse_by_evidence`: hand-derived cases, and a plain reference, on the CPU and on a pretended device."""

from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from benchmarks.pretend_device import DEVICE, PretendDevice
from drawn_maps import CAR, PERSON, STREET, TABLES, TRUCK, draw_map, draw_masks
from evidence_reference import reference_by_evidence
from fusion_cases import assert_as_reference, assert_same, draw_blocks, draw_options
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.fusion import claims, tensor_steps
from unified_seg.fusion.evidence import SemanticEvidence, fuse_by_evidence
from unified_seg.fusion.evidence import tensor_steps as evidence_steps
from unified_seg.fusion.region_sweeps import RegionSweeps
from unified_seg.fusion.semantic_guided import SemanticGuidedOptions, SemanticGuidedResult
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.soft_masks import SoftMasks

KEEP_ALL = {"min_stuff_area": 0.0, "min_segment_area": 0.0}


def test_the_last_of_256_classes_is_not_void():
    # PyTorch compares bytes with 32767 modulo 256.
    rules = SimpleNamespace(region_of=np.arange(1, 257), ignore_label=32767)
    regions = evidence_steps._map_regions(torch.tensor([3, 254, 255], dtype=torch.uint8), rules)
    assert regions.tolist() == [4, 255, 256]


def move(semantic: SemanticEvidence, device: str) -> SemanticEvidence:
    maps = (semantic.labels, semantic.confidences, semantic.category_confidences)
    return SemanticEvidence(*(map.to(device) for map in maps), semantic.cell)


def run_both(semantic: SemanticEvidence, *inputs: object) -> SemanticGuidedResult:
    """Return the result of the compiled steps, which must be that of the tensor steps."""
    result = fuse_by_evidence(semantic, *inputs)
    with PretendDevice():
        there = fuse_by_evidence(move(semantic, DEVICE), *(each.to(DEVICE) for each in inputs[:4]), *inputs[4:])
        assert_same(there, result)
    return result


def make_soft(levels: np.ndarray, cells: list[float]) -> SoftMasks:
    """Return soft masks of levels (N, H, W), in windows of the whole image."""
    count, height, width = levels.shape
    windows = torch.tensor([[0, 0, width, height]] * count).reshape(-1, 4)
    places = [(0, index) for index in range(count)]
    stack = torch.from_numpy(levels.astype(np.uint8))
    return SoftMasks(windows, [stack], places, torch.tensor(cells, dtype=torch.float32), (height, width))


def fuse(
    labels: str,
    masks: list[list[list[float]]],
    things: list[int],
    scores: list[float],
    *,
    confidences: list[list[float]] | float = 0.9,
    cells: list[float] | None = None,
    cell: float = 1.0,
    **options: object,
) -> SemanticGuidedResult:
    """Fuse drawn labels with masks of probabilities; the category is as likely as the label."""
    drawn = draw_map(labels, torch.uint8)
    probabilities = np.broadcast_to(confidences, drawn.shape)
    sure = torch.from_numpy((probabilities * 256).clip(0, 255).astype(np.uint8))
    levels = (np.array(masks).reshape(-1, *drawn.shape) * 256).clip(0, 255)
    soft = make_soft(levels, cells or [1.0] * len(masks))
    hard = BoxMasks.from_full(torch.from_numpy(levels >= 128))
    inputs = (hard, soft, torch.tensor(things, dtype=torch.int64), torch.tensor(scores), STREET)
    return run_both(
        SemanticEvidence(drawn, sure, sure, cell), *inputs, SemanticGuidedOptions(**{**KEEP_ALL, **options})
    )


def test_the_surer_source_wins() -> None:
    # Labels road, car, car, road with 0.7; the mask says 0.9, 0.9, 0.2, 0.6. With cells of one size the map has half of
    # its weight: 2.2 - 0.42 > 0, 2.2 + 0.42 > 0, -1.39 + 0.42 < 0, 0.41 - 0.42 < 0.
    result = fuse("0440", [[[0.9, 0.9, 0.2, 0.6]]], [CAR], [0.8], confidences=0.7)
    assert torch.equal(result.masks.full()[0, 0, :2], torch.tensor([True, True]))
    # The third pixel is within one cell of the car along pixels of its category.
    assert torch.equal(result.panoptic.ids, draw_map("1112", torch.int32))
    # The score, 0.8, exceeds the confidence of the road under the mask, 0.7.
    assert torch.equal(result.labels, draw_map("4440", torch.uint8))


def test_the_finer_source_has_the_last_word() -> None:
    # Road with 0.9 under a mask of 0.8: 1.39 against 2.2 with a weight of 0.1 or 0.9.
    drawn = ("00", [[[0.8, 0.8]]], [CAR], [0.95])
    fine = fuse(*drawn, cells=[1.0], cell=3.0)
    assert torch.equal(fine.panoptic.ids, draw_map("11", torch.int32))
    coarse = fuse(*drawn, cells=[3.0], cell=1.0)
    assert torch.equal(coarse.panoptic.ids, draw_map("11", torch.int32))  # road
    assert fine.kept[0] and not coarse.kept[0]


def test_owners_name_pixels_only_where_they_are_surer() -> None:
    # Truck labels, 0.6 and 0.9 sure, under a car of score 0.7.
    result = fuse("55", [[[0.9, 0.9]]], [CAR], [0.7], confidences=[[0.6, 0.9]])
    assert torch.equal(result.labels, draw_map("45", torch.uint8))
    assert torch.equal(result.panoptic.ids, draw_map("11", torch.int32))


def test_a_score_is_compared_with_the_middle_of_a_level() -> None:
    # The levels 178 and 179, whose middles are 178.5 / 256 = 0.697 and 179.5 / 256 = 0.701, around a score of 0.7.
    result = fuse("55", [[[0.9, 0.9]]], [CAR], [0.7], confidences=[[178.3 / 256, 179.3 / 256]])
    assert torch.equal(result.labels, draw_map("45", torch.uint8))


def test_a_pixel_goes_to_the_strongest_evidence() -> None:
    # Both claim all pixels of the middle; the worse-scored one is surer there. Half of its pixels are claimed already.
    masks = [[[0.9, 0.9, 0.7, 0.7, 0.1, 0.1]], [[0.1, 0.1, 0.8, 0.8, 0.9, 0.9]]]
    result = fuse("444444", masks, [CAR, TRUCK], [0.9, 0.8])
    assert torch.equal(result.panoptic.ids, draw_map("112222", torch.int32))
    # Equal evidence: the higher score.
    masks[1][0][2:4] = [0.7, 0.7]
    assert torch.equal(fuse("444444", masks, [CAR, TRUCK], [0.8, 0.9]).panoptic.ids, draw_map("221111", torch.int32))
    assert fuse("444444", masks, [CAR, TRUCK], [0.9, 0.8], overlap_threshold=0.4).kept.tolist() == [True, False]


def test_growth_ends_one_cell_from_the_mask() -> None:
    mask = [[[0.9, 0.1, 0.1, 0.1, 0.1]]]
    for cell, ids in ((0.9, "10000"), (1.0, "11000"), (2.0, "11100"), (2.6, "11100")):
        # The map is so coarse that the mask alone decides.
        result = fuse("44444", mask, [CAR], [0.9], cells=[cell], cell=100.0)
        assert torch.equal(result.panoptic.ids, draw_map(ids, torch.int32)), cell
        assert torch.equal(result.labels, draw_map("44444", torch.uint8))


def test_growth_goes_as_far_as_a_fine_map_carries() -> None:
    # A weight of 1 / (1 + 1.5^2) = 0.31: 0.31 * 6.24 = 1.92 outweighs a mask that falls by 0.5 in each cell of 1 pixel
    # for 3.8 cells. No pixel is claimed beside the first: the map adds 0.31 * log(0.9 / 0.1) = 0.68 to the mask's -2.2.
    mask = [[[0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]]]
    result = fuse("4444444", mask, [CAR], [0.9], cells=[1.0], cell=1.5)
    assert torch.equal(result.panoptic.ids, draw_map("1111000", torch.int32))


def test_what_nobody_reaches_is_found_if_the_map_is_sure() -> None:
    mask = [[[0.9, 0.1, 0.1, 0.1]]]
    sure = fuse("4044", mask, [CAR], [0.9], cell=100.0, confidences=[[0.9, 0.9, 0.85, 0.97]])
    assert torch.equal(sure.panoptic.ids, draw_map("1322", torch.int32)) and sure.found.tolist() == [False, True]
    unsure = fuse("4044", mask, [CAR], [0.9], cell=100.0, confidences=[[0.9, 0.9, 0.85, 0.93]])
    assert torch.equal(unsure.panoptic.ids, draw_map("1200", torch.int32)) and len(unsure.found) == 1


def test_a_mean_confidence_of_the_limit_is_found() -> None:
    # 0.9 is a level of 230.4: three pixels of 230 and two of 231 have this mean.
    levels = np.array([[230, 230, 230, 231, 231]])
    result = fuse("44444", [], [], [], confidences=(levels + 0.5) / 256)
    assert torch.equal(result.panoptic.ids, draw_map("11111", torch.int32))


def test_masks_that_are_certain_keep_their_pixels() -> None:
    labels = draw_map("0444444444", torch.uint8)
    masks = draw_masks(["1100000000"], (1, 10))
    result = run_both(
        SemanticEvidence.from_labels(labels),
        masks,
        SoftMasks.from_masks(masks),
        torch.tensor([CAR]),
        torch.tensor([0.9]),
        STREET,
        SemanticGuidedOptions(**KEEP_ALL),
    )
    # The car has the pixels of its mask, and six more by growth: 0.5 * 6.24 / 0.5 cells of a pixel. The label of the
    # first is surer than the car's score.
    assert torch.equal(result.panoptic.ids, draw_map("1111111100", torch.int32))
    assert torch.equal(result.labels, labels)


@st.composite
def cases(draw: st.DrawFn) -> tuple:
    """Draw inputs: maps of blocks with noise, confidences and soft masks that overlap, nest, touch, or are empty."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    table = draw(st.sampled_from(TABLES))
    labels = draw_blocks(draw, rng, table, 24)
    height, width = labels.shape
    labels[rng.random(labels.shape) < draw(st.sampled_from([0.0, 0.05]))] = table.ignore_label
    confidences, categories = np.sort(rng.choice([20, 100, 127, 128, 160, 255], (2, height, width)), axis=0)
    count = draw(st.integers(0, 6)) if table.num_things else 0
    side = draw(st.sampled_from([1, 4, 7]))
    corners = np.sort(rng.uniform(-3, max(height, width) + 3, (count, 2, 2)), axis=1).clip(0, [width, height])
    boxes = torch.from_numpy(corners.reshape(count, 4).astype(np.float32))
    soft = torch.from_numpy(rng.choice([0.05, 0.45, 0.5, 0.8, 1.0], (count, side, side)).astype(np.float32))
    options = draw_options(draw, [0.0, 0.5, 1.0])
    semantic = SemanticEvidence(
        torch.from_numpy(labels.astype(draw(st.sampled_from([np.uint8, np.int16, np.int64])))),
        torch.from_numpy(confidences.astype(np.uint8)),
        torch.from_numpy(categories.astype(np.uint8)),
        draw(st.sampled_from([0.5, 1.0, 4.0])),
    )
    things = torch.from_numpy(rng.integers(0, max(table.num_things, 1), count))
    scores = torch.from_numpy(rng.choice([0.3, 0.5, 0.7, 0.9], count))
    return semantic, boxes, soft, things, scores, table, options


def run_case(case: tuple) -> tuple[SemanticGuidedResult, SemanticGuidedResult]:
    """Return the results on the CPU and on the pretended device, where the soft masks are made anew."""
    semantic, boxes, soft, things, scores, table, options = case
    size = tuple(semantic.labels.shape)
    here = (BoxMasks.from_soft(soft, boxes, size), SoftMasks.from_soft(soft, boxes, size), things, scores)
    result = fuse_by_evidence(semantic, *here, table, options)
    with PretendDevice():
        on_device = [each.to(DEVICE) for each in (soft, boxes)]
        there = (BoxMasks.from_soft(*on_device, size), SoftMasks.from_soft(*on_device, size))
        moved = fuse_by_evidence(move(semantic, DEVICE), *there, things.to(DEVICE), scores.to(DEVICE), table, options)
    return result, moved


@settings(max_examples=100, deadline=None)
@given(cases())
def test_equals_the_plain_reference(case: tuple) -> None:
    semantic, boxes, soft, things, scores, table, options = case
    masks = SoftMasks.from_soft(soft, boxes, tuple(semantic.labels.shape))
    levels = [(tuple(window), masks.levels(i).numpy()) for i, window in enumerate(masks.windows.tolist())]
    maps = (semantic.labels, semantic.confidences, semantic.category_confidences)
    ids, refined, segments = reference_by_evidence(
        *(map.numpy() for map in maps),
        semantic.cell,
        levels,
        masks.cells.tolist(),
        things.tolist(),
        scores.tolist(),
        table,
        options,
    )
    result, moved = run_case(case)
    assert_as_reference(result, ids, refined, segments)
    assert_same(moved, result)
    full, given_masks = result.masks.full(), BoxMasks.from_soft(soft, boxes, masks.image_size).full()
    for segment in result.panoptic.segments_info:
        if segment["isthing"]:
            assert torch.equal(full[segment["instance_id"]], result.panoptic.ids == segment["id"])
    dropped = (~result.kept).nonzero()[:, 0]
    assert torch.equal(full[dropped], given_masks[dropped])


@settings(max_examples=20, deadline=None)
@given(cases(), st.integers(1, 3), st.sampled_from([1, 3]))
def test_any_split_of_the_work_gives_the_same_result(case: tuple, masks: int, rounds: int) -> None:
    """Few masks or patterns at a time, and regions that grow on the CPU after few rounds."""
    with (
        patch.object(claims, "MASKS", masks),
        patch.object(RegionSweeps.relax, "__defaults__", (rounds,)),
        patch.object(tensor_steps, "MEASURED", 2),
    ):
        result, moved = run_case(case)
    assert_same(moved, result)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidences": torch.zeros(1, 3, dtype=torch.uint8)}, "confidences"),
        ({"category_confidences": torch.zeros(1, 2)}, "category_confidences"),
        ({"cell": 0.0}, "cell"),
        ({"cell": float("nan")}, "cell"),
        ({"labels": torch.tensor([[0, 9]])}, "labels"),
    ],
)
def test_invalid_evidence_is_an_error(change: dict[str, object], message: str) -> None:
    labels = torch.tensor([[0, 4]])
    sure = torch.full((1, 2), 255, dtype=torch.uint8)
    maps = {"labels": labels, "confidences": sure, "category_confidences": sure, "cell": 1.0, **change}
    masks = draw_masks(["11"], (1, 2))
    inputs = (masks, SoftMasks.from_masks(masks), torch.tensor([CAR]), torch.tensor([0.9]), STREET)
    with pytest.raises(ValueError, match=message):
        fuse_by_evidence(SemanticEvidence(**maps), *inputs)


def test_soft_masks_of_other_instances_are_an_error() -> None:
    masks = draw_masks(["11"], (1, 2))
    semantic = SemanticEvidence.from_labels(torch.tensor([[0, 4]]))
    with pytest.raises(ValueError, match="soft_masks"):
        fuse_by_evidence(
            semantic, masks, SoftMasks.from_masks(masks[[]]), torch.tensor([PERSON]), torch.tensor([0.9]), STREET
        )
