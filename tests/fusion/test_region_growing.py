import numpy as np
import pytest
import torch
from drawn_maps import draw_map
from fusion_reference import reference_components, reference_grow
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unified_seg.fusion.region_growing import grow_regions
from unified_seg.fusion.region_sweeps import grow_by_sweeps
from unified_seg_arrays.fusion.region_growing import compute_neighbor_steps, find_free_pixels, label_components

GROW = [grow_regions, grow_by_sweeps]


def grid(text: str) -> Tensor:
    return draw_map(text, torch.int32)


def random_maps(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return owners on a few pixels, and regions of blocks, which wind if the blocks are small."""
    rng = np.random.default_rng(seed)
    block = int(rng.integers(1, 5))
    coarse = rng.integers(0, 3, (height // block + 1, width // block + 1))
    regions = np.kron(coarse, np.ones((block, block), dtype=np.int64))[:height, :width]
    owners = np.where(
        rng.random((height, width)) < rng.choice([0.0, 0.02, 0.3]), rng.integers(1, 6, (height, width)), 0
    )
    return owners.astype(np.int32), regions.astype(np.uint8)


@pytest.mark.parametrize("grow", GROW)
def test_corridor_is_filled_around_its_corner(grow: object) -> None:
    # Owner 1 enters the corridor at the left, owner 2 at its other end. Along it (5 pixels right, 2 down, 4 left) the
    # 9 free pixels have the distances 1 .. 9 to owner 1 and 9 .. 1 to owner 2: the fifth is a tie, which 1 wins.
    # In a straight line (1,4) and the pixels below it would be nearer to owner 2.
    regions = grid("11111 00001 11111")
    owners = grid("10000 00000 20000")
    assert torch.equal(grow(owners, regions, 4), grid("11111 00001 22222"))


@pytest.mark.parametrize("grow", GROW)
def test_smaller_owner_wins_a_tie(grow: object) -> None:
    # The middle of each row has distance 2 to both.
    assert torch.equal(grow(grid("10002 20001"), grid("11111 22222"), 4), grid("11122 22111"))
    # The middle pixel of the cross has four owners at distance 1.
    assert torch.equal(grow(grid("040 305 020"), grid("111 111 111"), 4)[1, 1], torch.tensor(2, dtype=torch.int32))


@pytest.mark.parametrize("grow", GROW)
def test_owners_do_not_leave_their_region(grow: object) -> None:
    # Owner 1 fills region 1; the right half of it lies behind region 2, and an owner on region 0 grows nowhere.
    regions = grid("112110 112110")
    assert torch.equal(grow(grid("100003 000000"), regions, 4), grid("110003 110000"))


@pytest.mark.parametrize("grow", GROW)
def test_diagonal_contact_counts_with_eight_neighbors_only(grow: object) -> None:
    regions, owners = grid("100 010 001"), grid("100 000 000")
    assert torch.equal(grow(owners, regions, 4), owners)
    assert torch.equal(grow(owners, regions, 8), regions)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 24), st.integers(1, 24), st.sampled_from([4, 8]))
def test_growing_equals_the_reference(seed: int, height: int, width: int, connectivity: int) -> None:
    owners, regions = random_maps(seed, height, width)
    # The reference compares neighbors of one region, so it must not see owners outside the regions.
    expected = torch.from_numpy(reference_grow(np.where(regions > 0, owners, 0), regions, connectivity))
    expected = torch.where(torch.from_numpy(regions) > 0, expected, torch.from_numpy(owners)).int()
    given = (torch.from_numpy(owners), torch.from_numpy(regions))
    for grow in GROW:
        assert torch.equal(grow(*given, connectivity), expected), grow.__name__
    assert torch.equal(given[0], torch.from_numpy(random_maps(seed, height, width)[0])), "the arguments were changed"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20), st.sampled_from([4, 8]), st.integers(1, 5))
def test_components_equal_the_reference(seed: int, height: int, width: int, connectivity: int, min_area: int) -> None:
    owners, labels = random_maps(seed, height, width)
    inside = (owners == 0) & (labels > 0)
    components = reference_components(labels, inside, connectivity)
    framed_owners, states = np.pad(owners, 1), np.pad(np.where(inside, 1, -(labels > 0).astype(np.int8)), 1)
    steps = compute_neighbor_steps(width + 2, connectivity)
    found = label_components(framed_owners, states, find_free_pixels(states), labels, steps, 5, float(min_area))
    large = [component for component in components if len(component) >= min_area]
    assert found.tolist() == [[labels[component[0]], len(component)] for component in large]
    expected = owners.copy()
    for number, component in enumerate(large, start=6):
        expected[tuple(np.transpose(component))] = number
    assert np.array_equal(framed_owners[1:-1, 1:-1], expected)


def test_invalid_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        grow_regions(torch.zeros(2, 3, dtype=torch.int32), torch.zeros(3, 2, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"connectivity .* 6"):
        grow_regions(torch.zeros(2, 2, dtype=torch.int32), torch.zeros(2, 2, dtype=torch.int32), 6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_grows_as_the_cpu() -> None:
    for seed in range(50):
        owners, regions = (torch.from_numpy(a) for a in random_maps(seed, 50, 70))
        for connectivity in (4, 8):
            on_gpu = grow_regions(owners.cuda(), regions.cuda(), connectivity)
            assert torch.equal(on_gpu.cpu(), grow_regions(owners, regions, connectivity))
