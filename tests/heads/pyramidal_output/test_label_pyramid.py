from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyramid_reference as reference
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unified_seg.heads.pyramidal_output.label_pyramid import (
    POLICIES,
    UNITY_IGNORE,
    LabelPyramid,
    assign_levels,
    build_label_pyramid,
    check_strides,
    fuse_pyramid,
    label_cells,
    mask_resolved_cells,
    relabel,
)

IGNORE = 255
STRIDES = [(4, 2), (8, 4, 2), (4, 2, 1), (6, 2), (12, 6, 2, 1), (8, 1), (16, 8, 4, 2)]
LABELS = np.array([0, 1, 2, 254, -7, 2**40, np.iinfo(np.int64).max, np.iinfo(np.int64).min])


def draw(text: str, ignored: int = IGNORE) -> Tensor:
    """Return a map of one image: a line per row, a character per cell, `.` for ignored cells, spaces ignored."""
    rows = [line.replace(" ", "") for line in text.strip().splitlines()]
    return torch.tensor([[ignored if cell == "." else int(cell) for cell in row] for row in rows if row])[None]


def assert_levels(levels: tuple[Tensor, ...], *drawn: str, ignored: int = IGNORE) -> None:
    assert [level.tolist() for level in levels] == [draw(text, ignored).tolist() for text in drawn]


# Strides 4, 2 and 1. Of the four coarsest cells the upper left is all 0; the upper right is all 1, since ignored
# pixels don't count, and its last child is void; the lower ones are mix-cells. In the lower left one all children are
# unity-cells. In the lower right one they are: all 3; 3 and 0, a mix-cell; void; all 1 where it is valid.
MAP = """
    0000 1111
    0000 1111
    0000 11..
    0000 11..

    2200 3330
    2200 3300
    2200 ..11
    2200 ..1.
"""
SEMANTIC = (
    """
    0 1
    . .
    """,
    """
    00 11
    00 1.

    20 3.
    20 .1
    """,
    MAP,
)
UNITY = (
    """
    1 1
    0 0
    """,
    """
    11 11
    11 1.

    11 10
    11 .1
    """,
)
# With tau = 0.9. Coarsest: a true positive, a false negative, a false and a true negative. Below the true positive
# predictions don't matter; elsewhere the 0.9 and 0.95 are true positives, except for the last of the third row, which
# is a mix-cell; void cells have a probability of 0.99, which must not matter either.
PREDICTED = (
    torch.tensor([[[0.95, 0.5], [0.99, 0.1]]]),
    torch.tensor([[[0.99, 0.0, 0.9, 0.2], [0.0, 0.99, 0.3, 0.99], [0.95, 0.1, 0.9, 0.95], [0.2, 0.9, 0.99, 0.5]]]),
)


def hand_drawn() -> LabelPyramid:
    return build_label_pyramid(draw(MAP), (4, 2, 1), IGNORE)


def test_pyramid_matches_a_hand_drawn_one() -> None:
    pyramid = hand_drawn()
    assert_levels(pyramid.semantic, *SEMANTIC)
    assert_levels(pyramid.unity, *UNITY, ignored=UNITY_IGNORE)
    assert (pyramid.strides, pyramid.ignore_value) == ((4, 2, 1), IGNORE)
    assert [level.dtype for level in (*pyramid.semantic, *pyramid.unity)] == [torch.int64] * 3 + [torch.int8] * 2


def test_policy_none_changes_nothing() -> None:
    same = relabel(hand_drawn(), "none", PREDICTED, 0.9)
    assert_levels(same.semantic, *SEMANTIC)
    assert_levels(same.unity, *UNITY, ignored=UNITY_IGNORE)


def test_policy_truth_matches_a_hand_drawn_one() -> None:
    # The upper two coarsest cells are unity-cells, so all cells below them are resolved. Below the lower two, the
    # second level's unity-cells resolve theirs: the finest keeps those below the only mix-cell, 3 0 / 0 0.
    relabeled = relabel(hand_drawn(), "truth")
    assert_levels(
        relabeled.semantic,
        SEMANTIC[0],
        """
        .. ..
        .. ..

        20 3.
        20 .1
        """,
        """
        .... ....
        .... ....
        .... ....
        .... ....

        .... ..30
        .... ..00
        .... ....
        .... ....
        """,
    )
    assert_levels(
        relabeled.unity,
        UNITY[0],
        """
        .. ..
        .. ..

        11 10
        11 .1
        """,
        ignored=UNITY_IGNORE,
    )


def test_policy_true_positives_matches_a_hand_drawn_one() -> None:
    # Of the coarsest cells only the upper left is a true positive: the upper right is a false negative, lower left a
    # false positive. At the second level true positives are, in the upper right, the first (0.9 is tau itself); in the
    # lower left, those of the falling diagonal; in the lower right, the first, for its second is a false positive.
    relabeled = relabel(hand_drawn(), "true_positives", PREDICTED, 0.9)
    assert_levels(
        relabeled.semantic,
        SEMANTIC[0],
        """
        .. 11
        .. 1.

        20 3.
        20 .1
        """,
        """
        .... ..11
        .... ..11
        .... 11..
        .... 11..

        ..00 ..30
        ..00 ..00
        22.. ..11
        22.. ..1.
        """,
    )
    assert_levels(
        relabeled.unity,
        UNITY[0],
        """
        .. 11
        .. 1.

        11 10
        11 .1
        """,
        ignored=UNITY_IGNORE,
    )


def test_levels_and_fusion_match_hand_drawn_ones() -> None:
    # The same predictions in inference, where the ground truth is unknown and false positives count: the coarsest level
    # labels the whole left half; on the right, the second level its cells of 0.9 or more, the finest the others.
    levels = assign_levels(PREDICTED, (4, 2, 1), 0.9)
    assert_levels(
        (levels,),
        """
        0000 1122
        0000 1122
        0000 2211
        0000 2211

        0000 1111
        0000 1111
        0000 1122
        0000 1122
        """,
    )
    # Level l's logits are 100 l + the cell's number in reading order.
    sides = (2, 4, 8)
    semantic = [
        (100.0 * level + torch.arange(float(side**2))).view(1, 1, side, side) for level, side in enumerate(sides)
    ]
    # The last row: coarsest cell 2; cell 14 of the second level; the pixels 62 and 63.
    assert fuse_pyramid(levels, semantic)[0, 0, -1].tolist() == [2, 2, 2, 2, 114, 114, 262, 263]


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        # All four central pixels are as near the center: the first in reading order.
        ("1111 / 1234 / 1567 / 1111", 2),
        ("1111 / 1.34 / 1567 / 1111", 3),
        ("1111 / 1..4 / 1567 / 1111", 5),
        ("1111 / 1..4 / 1..7 / 1111", 1),
        # Then come the eight beside them, at 1.5 and 0.5 pixels from the center; the corners are the farthest.
        ("2.34 / 5..6 / ...7 / 8..9", 3),
        ("2..4 / ...6 / ...7 / 8..9", 6),
        ("2..4 / .... / .... / 8..9", 2),
        (".... / .... / .... / ...9", 9),
        (".... / .... / .... / ....", IGNORE),
    ],
)
def test_finest_label_is_the_nearest_to_the_center(cell: str, label: int) -> None:
    # Right of it a unity-cell.
    labels = torch.cat([draw(cell.replace("/", "\n")), torch.full((1, 4, 4), 8)], dim=2)
    assert build_label_pyramid(labels, (8, 4), IGNORE).semantic[-1][0, 0].tolist() == [label, 8]


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 8])
def test_finest_label_equals_a_plain_reference(stride: int) -> None:
    # Cells of distinct labels, few of them valid; some cells have no valid label.
    labels = np.arange(9 * stride * 6 * stride).reshape(9 * stride, 6 * stride)
    labels[np.random.default_rng(stride).random(labels.shape) < 1 - 1.5 / stride**2] = -1
    labels[:stride, :stride] = -1
    strides = (3 * stride, stride)
    finest = build_label_pyramid(torch.from_numpy(labels)[None], strides, -1).semantic[-1][0]
    assert finest.tolist() == reference.build_pyramid(labels, strides, -1)[0][-1].tolist()
    # Labeled alone, they are padded to their own stride, not the coarsest's: the last row and column of cells are cut.
    rows, columns = max(8 * stride, 1) + 1, 5 * stride + 1
    alone = label_cells(torch.from_numpy(labels[:rows, :columns])[None], stride, -1)[0]
    padded = np.pad(labels[:rows, :columns], ((0, 9 * stride - rows), (0, 6 * stride - columns)), constant_values=-1)
    assert alone.tolist() == reference.build_pyramid(padded, strides, -1)[0][-1].tolist()


@dataclass(frozen=True)
class Case:
    labels: np.ndarray
    """(N, H, W)"""
    strides: tuple[int, ...]
    ignore: int
    seed: int

    @property
    def pyramid(self) -> LabelPyramid:
        return build_label_pyramid(torch.from_numpy(self.labels), self.strides, self.ignore)

    def shapes(self) -> list[tuple[int, int, int]]:
        number, *sides = self.labels.shape
        sides = [-(-side // self.strides[0]) * self.strides[0] for side in sides]
        return [(number, *(side // stride for side in sides)) for stride in self.strides]

    def probabilities(self) -> list[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        # In steps, so that some equal a threshold exactly.
        return [torch.randint(0, 9, shape, generator=generator) / 8 for shape in self.shapes()[:-1]]


def make_case(number: int, size: tuple[int, int], strides: tuple[int, ...], ignore: int, seed: int) -> Case:
    """Blocks within blocks, down to pixels, so that all levels have unity-cells, mix-cells and void cells."""
    rng = np.random.default_rng(seed)
    labels = np.full((number, *size), ignore)
    for side in (*strides, 1):
        blocks = (number, *(-(-length // side) for length in size))
        label = np.where(rng.random(blocks) < 0.3, ignore, rng.choice(LABELS, blocks))
        changed = rng.random(blocks) < (1 if side == strides[0] else rng.choice([0, 0.03, 0.3]))
        changed, label = (each.repeat(side, 1).repeat(side, 2)[:, : size[0], : size[1]] for each in (changed, label))
        labels = np.where(changed, label, labels)
    return Case(labels, strides, ignore, seed)


CASES = st.builds(
    make_case,
    st.integers(1, 2),
    st.tuples(st.integers(1, 26), st.integers(1, 26)),
    st.sampled_from(STRIDES),
    st.sampled_from([IGNORE, -1, 0, 2**40]),
    st.integers(0, 10**6),
)


def test_random_cases_have_cells_of_all_kinds() -> None:
    cases = [make_case(2, (26, 26), (8, 4, 2), IGNORE, seed) for seed in range(20)]
    for level in range(2):
        found = np.concatenate([case.pyramid.unity[level].flatten().numpy() for case in cases])
        assert min((found == kind).sum() for kind in (reference.VOID, reference.MIX, reference.UNITY)) > 10


@settings(max_examples=300, deadline=None)
@given(CASES)
def test_pyramid_equals_the_reference(case: Case) -> None:
    pyramid = case.pyramid
    for image, labels in enumerate(case.labels):
        semantic, unity = reference.build_pyramid(labels, case.strides, case.ignore)
        assert [level[image].tolist() for level in pyramid.semantic] == [level.tolist() for level in semantic]
        assert [level[image].tolist() for level in pyramid.unity] == [level.tolist() for level in unity[:-1]]


@settings(max_examples=300, deadline=None)
@given(CASES, st.sampled_from(POLICIES), st.sampled_from([0.0, 0.5, 0.875, 1.0]))
def test_relabelling_equals_the_reference(case: Case, policy: str, threshold: float) -> None:
    pyramid, predicted = case.pyramid, case.probabilities()
    relabeled = relabel(pyramid, policy, predicted, threshold)
    masks = mask_resolved_cells(pyramid, policy, predicted, threshold)
    for image in range(len(case.labels)):
        semantic = [level[image].numpy() for level in pyramid.semantic]
        unity = [level[image].numpy() for level in pyramid.unity]
        counts = [
            (level == reference.UNITY)
            & (policy != "none")
            & ((policy == "truth") | (probability[image].numpy() >= threshold))
            for level, probability in zip(unity, predicted)
        ]
        resolved = reference.mask_resolved(counts, case.strides, [level.shape for level in semantic])
        assert [mask[image].tolist() for mask in masks] == [mask.tolist() for mask in resolved]
        for after, before, mask in zip(relabeled.semantic, semantic, resolved):
            assert after[image].tolist() == np.where(mask, case.ignore, before).tolist()
        for after, before, mask in zip(relabeled.unity, unity, resolved):
            assert after[image].tolist() == np.where(mask, reference.VOID, before).tolist()


@settings(max_examples=100, deadline=None)
@given(CASES)
def test_policy_truth_leaves_each_valid_pixel_to_one_level(case: Case) -> None:
    # The policy "truth" leaves each pixel to the coarsest level at which it is within a unity-cell, else to the finest.
    pyramid = relabel(case.pyramid, "truth")
    height, width = case.labels.shape[1:]
    in_loss = [
        (level != case.ignore).repeat_interleave(stride, 1).repeat_interleave(stride, 2)[:, :height, :width]
        for level, stride in zip(pyramid.semantic, case.strides)
    ]
    valid = torch.from_numpy(case.labels) != case.ignore
    assert (torch.stack(in_loss).sum(0)[valid] == 1).all()


@settings(max_examples=150, deadline=None)
@given(CASES, st.sampled_from([0.0, 0.3, 0.5, 0.875, 1.0, 1.001]))
def test_levels_and_fusion_equal_the_reference(case: Case, threshold: float) -> None:
    unity = case.probabilities()
    levels = assign_levels(unity, case.strides, threshold)
    generator = torch.Generator().manual_seed(case.seed)
    semantic = [torch.randn(n, 3, h, w, generator=generator) for n, h, w in case.shapes()]
    fused = fuse_pyramid(levels, semantic)
    for image in range(len(levels)):
        # The reference asserts that each cell has exactly one level.
        expected = reference.assign_levels([level[image].numpy() for level in unity], case.strides, threshold)
        assert levels[image].tolist() == expected.tolist()
        logits = reference.fuse(expected, [level[image].numpy() for level in semantic])
        assert fused[image].tolist() == logits.tolist()


def random_maps(strides: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], list[Tensor]]:
    """Unity and logits of 2 images of 64x96 pixels and 5 classes."""
    generator = torch.Generator().manual_seed(0)
    sides = [(64 // stride, 96 // stride) for stride in strides]
    unity = [torch.rand(2, *side, generator=generator).to(dtype) for side in sides[:-1]]
    return unity, [torch.randn(2, 5, *side, generator=generator).to(dtype) for side in sides]


def nearest(logits: Tensor, like: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(logits, size=like.shape[-2:], mode="nearest")


@pytest.mark.parametrize("strides", [(32, 16, 8, 4), (32, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_extreme_thresholds_give_one_level_everywhere(strides: tuple[int, ...], dtype: torch.dtype) -> None:
    unity, semantic = random_maps(strides, dtype)
    # The extremes of a probability: 1 is below a threshold above 1, also in half precision.
    unity[0][0], unity[0][1] = 1, 0
    coarsest, finest = (assign_levels(unity, strides, threshold) for threshold in (0, 1.001))
    assert coarsest.unique().tolist() == [0]
    assert finest.unique().tolist() == [len(strides) - 1]
    assert torch.equal(fuse_pyramid(coarsest, semantic), nearest(semantic[0], semantic[-1]))
    assert torch.equal(fuse_pyramid(finest, semantic), semantic[-1])


def test_two_levels_match_hand_computed_ones() -> None:
    # A coarse cell is 8x8 fine ones. Left all 3 but for an ignored pixel; right all 1 but one pixel of 2, at row 9 and
    # column 41: row 1 and column 1 of the fine cell 2, 10, so one of the four next to its center, and the first.
    labels = torch.full((1, 32, 64), 3)
    labels[..., 32:], labels[0, 9, 41], labels[0, 5, 5] = 1, 2, IGNORE
    pyramid = build_label_pyramid(labels, (32, 4), IGNORE)
    assert [level.tolist() for level in pyramid.unity] == [[[[1, 0]]]]
    assert pyramid.semantic[0].tolist() == [[[3, IGNORE]]]
    expected = torch.full((1, 8, 16), 3)
    expected[..., 8:], expected[0, 2, 10] = 1, 2
    assert torch.equal(pyramid.semantic[1], expected)
    # Both are predicted as unity-cells; one is a true positive.
    relabeled = relabel(pyramid, "true_positives", [torch.full((1, 1, 2), 0.95)])
    expected[..., :8] = IGNORE
    assert torch.equal(relabeled.semantic[1], expected)


def test_fusion_accepts_any_map_of_levels() -> None:
    # Also maps in which the finest cells of a coarse one have different levels.
    strides = (32, 16, 8, 4)
    _, semantic = random_maps(strides)
    levels = torch.randint(0, 4, (2, 16, 24), generator=torch.Generator().manual_seed(1))
    each = torch.stack([nearest(logits, semantic[-1]) for logits in semantic])
    expected = each.gather(0, levels[None, :, None].expand(1, -1, 5, -1, -1))[0]
    assert torch.equal(fuse_pyramid(levels, semantic), expected)
    half = [logits.bfloat16().to(memory_format=torch.channels_last) for logits in semantic]
    assert torch.equal(fuse_pyramid(levels, half), expected.bfloat16())


def test_gradients_reach_only_the_cells_of_assigned_levels() -> None:
    strides = (32, 16, 8, 4)
    unity, semantic = random_maps(strides)
    unity, semantic = ([each.requires_grad_() for each in maps] for maps in (unity, semantic))
    levels = assign_levels(unity, strides, 0.6)
    fuse_pyramid(levels, semantic).sum().backward()
    for level, (logits, stride) in enumerate(zip(semantic, strides)):
        # The sum's gradient in a cell is the number of finest cells that it labels.
        factor = stride // 4
        assigned = (levels == level).float()
        counts = torch.nn.functional.avg_pool2d(assigned[:, None], factor) * factor**2
        torch.testing.assert_close(logits.grad, counts.expand_as(logits))
        assert 0 < assigned.mean() < 1
    assert all(each.grad is None for each in unity)


def test_half_precision_and_autocast_change_nothing() -> None:
    strides = (32, 16, 8, 4)
    unity, semantic = random_maps(strides, torch.bfloat16)
    labels = torch.randint(0, 2, (2, 4, 6), generator=torch.Generator().manual_seed(2))
    pyramid = build_label_pyramid(labels.repeat_interleave(16, 1).repeat_interleave(16, 2), strides, IGNORE)
    expected = relabel(pyramid, "true_positives", [each.float() for each in unity], 0.6)
    levels = assign_levels(unity, strides, 0.6)
    fused = fuse_pyramid(levels, semantic)
    with torch.autocast("cpu", torch.bfloat16):
        for result, exact in zip(relabel(pyramid, "true_positives", unity, 0.6).semantic, expected.semantic):
            assert torch.equal(result, exact)
        assert torch.equal(assign_levels(unity, strides, 0.6), levels)
        again = fuse_pyramid(levels, semantic)
    assert again.dtype == torch.bfloat16
    assert torch.equal(again, fused)


def test_relabelling_does_not_change_the_ground_truth() -> None:
    labels = draw(MAP)
    pyramid = build_label_pyramid(labels, (4, 2, 1), IGNORE)
    relabel(pyramid, "truth")
    assert torch.equal(labels, draw(MAP))
    assert_levels(pyramid.semantic, *SEMANTIC)
    assert_levels(pyramid.unity, *UNITY, ignored=UNITY_IGNORE)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_equals_cpu() -> None:
    for seed in range(10):
        case = make_case(2, (75, 131), (32, 16, 8, 4), IGNORE, seed)
        unity = case.probabilities()
        on_gpu = build_label_pyramid(torch.from_numpy(case.labels).cuda(), case.strides, case.ignore)
        for policy in POLICIES:
            gpu_pyramid = relabel(on_gpu, policy, [each.cuda() for each in unity], 0.5)
            cpu_pyramid = relabel(case.pyramid, policy, unity, 0.5)
            for gpu, cpu in zip(
                (*gpu_pyramid.semantic, *gpu_pyramid.unity), (*cpu_pyramid.semantic, *cpu_pyramid.unity)
            ):
                assert torch.equal(gpu.cpu(), cpu)
        levels = assign_levels([each.cuda() for each in unity], case.strides, 0.5)
        assert torch.equal(levels.cpu(), assign_levels(unity, case.strides, 0.5))
        semantic = [torch.randn(n, 7, h, w) for n, h, w in case.shapes()]
        fused = fuse_pyramid(levels, [logits.cuda() for logits in semantic])
        assert torch.equal(fused.cpu(), fuse_pyramid(levels.cpu(), semantic))


@pytest.mark.parametrize(
    ("strides", "message"),
    [
        ([], r"at least two levels, got the strides \[\]"),
        ([32], r"at least two levels, got the strides \[32\]"),
        ([4, 8, 16], r"from coarse to fine, .* whose level 0 has 4 and level 1 has 8"),
        ([32, 16, 16, 4], "whose level 1 has 16 and level 2 has 16"),
        ([32, 16, 6], "whose level 1 has 16 and level 2 has 6"),
        ([32, 16, 0], r"whole numbers above 0, got \[32, 16, 0\]"),
        ([32, -16], "whole numbers above 0"),
        ([32, 16.0], "whole numbers above 0"),
    ],
)
def test_strides_that_do_not_nest_are_refused(strides: Sequence[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_strides(strides)


@pytest.mark.parametrize("strides", [(2, 1), (32, 4), (32, 16, 8, 4), [12, 6, 2]])
def test_strides_that_nest_are_accepted(strides: Sequence[int]) -> None:
    check_strides(strides)


def test_labels_of_another_shape_or_type_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels must be \(N, H, W\) int64, got \(8, 8\) torch.int64"):
        build_label_pyramid(torch.zeros(8, 8, dtype=torch.int64), (4, 2), IGNORE)
    with pytest.raises(ValueError, match=r"got \(1, 8, 8\) torch.uint8"):
        build_label_pyramid(torch.zeros(1, 8, 8, dtype=torch.uint8), (4, 2), IGNORE)
    with pytest.raises(ValueError, match="at least two levels"):
        build_label_pyramid(torch.zeros(1, 8, 8, dtype=torch.int64), (4,), IGNORE)


def test_invalid_policies_and_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match="policy must be one of none, truth, true_positives, got 'both'"):
        relabel(hand_drawn(), "both")
    for predicted in ((), PREDICTED[:1], (PREDICTED[0], PREDICTED[1][:, :3])):
        with pytest.raises(ValueError, match=r"predicted must have .* \[\(1, 2, 2\), \(1, 4, 4\)\], got"):
            relabel(hand_drawn(), "true_positives", predicted, 0.9)


def test_levels_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="each level but the finest, 3, got 2"):
        assign_levels(PREDICTED, (8, 4, 2, 1), 0.9)
    with pytest.raises(ValueError, match=r"strides \[8, 2, 1\] have the shapes \[\(1, 2, 2\), \(1, 8, 8\)\], got"):
        assign_levels(PREDICTED, (8, 2, 1), 0.9)
    levels = torch.zeros(1, 8, 8, dtype=torch.int64)
    for side in ((3, 4), (4, 2), (16, 16)):
        with pytest.raises(ValueError, match=f"cells of {side[0]}x{side[1]}, at level 0, don't nest .* 8x8"):
            fuse_pyramid(levels, [torch.zeros(1, 3, *side), torch.zeros(1, 3, 8, 8)])
    with pytest.raises((RuntimeError, IndexError)):
        # A level without logits must be an error.
        fuse_pyramid(levels + 2, [torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8)])
