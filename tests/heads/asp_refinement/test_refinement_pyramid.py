import pytest
import torch
from torch.nn import functional as F

from unified_seg.heads.asp_refinement.refinement_pyramid import refine


def test_each_level_adds_to_the_sum_of_the_coarser_ones() -> None:
    # Constants survive upsampling, so by hand: h2..h5 = 1, 10, 100, 1000;
    # r5 = 1000, r4 = 100 + 1000, r3 = 10 + 1100, r2 = 1 + 1110.
    levels = [torch.full((1, 2, 8 // 2**i, 16 // 2**i), 10.0**i) for i in range(4)]
    refined = refine(levels)
    assert [r.unique().tolist() for r in refined] == [[1111.0], [1110.0], [1100.0], [1000.0]]
    assert [r.shape for r in refined] == [level.shape for level in levels]


@pytest.mark.parametrize("coarse", [(3, 5), (4, 5), (3, 4)])
def test_odd_sizes_are_upsampled_to_the_finer_level(coarse: tuple[int, int]) -> None:
    fine, low = torch.randn(2, 3, 7, 9), torch.randn(2, 3, *coarse)
    refined = refine([fine, low])
    upsampled = F.interpolate(low, size=(7, 9), mode="bilinear", align_corners=False)
    assert torch.equal(refined[0], fine + upsampled)
    assert refined[1] is low


def test_single_level_is_not_changed() -> None:
    level = torch.randn(1, 2, 3, 3)
    assert refine([level]) == [level]


def test_inputs_are_not_changed() -> None:
    levels = [torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2)]
    refine(levels)
    assert (levels[0] == 1).all() and len(levels) == 2
