import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads.psp.pyramid_pooling import PyramidPooling


def pool_plainly(x: Tensor, side: int, how: str) -> Tensor:
    """Bin i of n over m rows holds the rows floor(i m / n) .. ceil((i + 1) m / n), and likewise the columns."""
    height, width = x.shape[-2:]
    pooled = x.new_empty(*x.shape[:2], side, side)
    for i in range(side):
        rows = slice(i * height // side, math.ceil((i + 1) * height / side))
        for j in range(side):
            columns = slice(j * width // side, math.ceil((j + 1) * width / side))
            block = x[:, :, rows, columns]
            pooled[:, :, i, j] = block.mean((2, 3)) if how == "average" else block.amax((2, 3))
    return pooled


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 65), st.integers(1, 33)),
    bins=st.lists(st.integers(1, 9), max_size=4),
    pool=st.sampled_from(["average", "max"]),
    reduction=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_result_equals_a_plain_reference(
    size: tuple[int, int], bins: list[int], pool: str, reduction: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = PyramidPooling(8, bins=bins, pool=pool, reduction=reduction).eval()
    x = torch.randn(2, 8, *size)
    parts = [x]
    for side, branch in zip(bins, layer.branches, strict=True):
        part = pool_plainly(x, side, pool)
        if reduction:
            part = F.conv2d(part, branch.weight, branch.bias)
            if side > 1:
                part = F.group_norm(part, branch.norm.num_groups, branch.norm.weight, branch.norm.bias)
            part = part.clamp(min=0)
        parts.append(F.interpolate(part, size=size, mode="bilinear", align_corners=False))
    expected = torch.cat(parts, dim=1)
    assert layer.out_channels == expected.shape[1]
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_pooled_map_matches_hand_computed_values() -> None:
    # One channel, 2x4, columns 1 2 3 4 in both rows. One bin holds their mean 2.5 everywhere; two bins a side hold
    # 1.5 and 3.5, which upsampled twofold (centers at halves) are 1.5, 1.5 + 0.25 * 2 ... along a row of four:
    # output centers 0.125, 0.375, 0.625, 0.875 of the width lie at -0.0, 0.25, 0.75, 1.0 between the bin centers.
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 1, 2, 4)
    layer = PyramidPooling(1, bins=[1], reduction=False)
    assert layer(x)[0, 1].tolist() == [[2.5] * 4] * 2
    layer = PyramidPooling(1, bins=[2], reduction=False)
    assert layer(x)[0, 1].tolist() == [[1.5, 2.0, 3.0, 3.5]] * 2
    assert PyramidPooling(1, bins=[1], pool="max", reduction=False)(x)[0, 1].tolist() == [[4.0] * 4] * 2


@pytest.mark.parametrize("norm", ["GN", "BN", "SyncBN"])
def test_every_norm_trains_at_batch_size_one(norm: str) -> None:
    layer = PyramidPooling(64, norm=norm).train()
    layer(torch.randn(1, 64, 7, 9)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("norm", ["GN", "BN"])
def test_global_branch_distinguishes_images(norm: str) -> None:
    """A norm on its single position would give the same for any input."""
    torch.manual_seed(0)
    layer = PyramidPooling(64, bins=[1], norm=norm).train()
    bright, dark = (layer(value * torch.ones(1, 64, 4, 4))[:, 64:] for value in (3.0, 1.0))
    torch.testing.assert_close(bright, 3 * dark)  # a 1x1 convolution with a zero bias, and ReLU
    assert bright.any()


def test_output_channels_follow_from_bins_and_reduction() -> None:
    assert PyramidPooling(512).out_channels == 1024  # 512 + 4 * 512 / 4
    assert PyramidPooling(512, reduction=False).out_channels == 5 * 512
    assert PyramidPooling(100, bins=[1, 2, 3]).out_channels == 100 + 3 * 33
    plain = PyramidPooling(16, bins=[])
    x = torch.randn(1, 16, 3, 3)
    assert plain.out_channels == 16 and torch.equal(plain(x), x) and not list(plain.parameters())
    # 64 / 4 = 16 channels, which 32 groups can't share: four channels a group.
    norm = PyramidPooling(64).branches[1].norm
    assert isinstance(norm, nn.GroupNorm) and (norm.num_groups, norm.num_channels) == (4, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": [1, 0]}, r"bins must be whole numbers of at least 1, got \[1, 0\]"),
        ({"bins": [1, -2]}, "bins must be whole numbers"),
        ({"bins": [1, 2.5]}, r"bins must be whole numbers of at least 1, got \[1, 2\.5\]"),
        ({"bins": [1] * 9}, "8 channels can't be shared among 9"),
        ({"pool": "median"}, "pool must be one of average, max, got 'median'"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PyramidPooling(8, **options)  # type: ignore[arg-type]
