import pytest
import torch
from torch import nn

from unified_seg.heads.asp_refinement.atrous_pyramid import AtrousSpatialPyramid


def pyramid(**options: object) -> AtrousSpatialPyramid:
    torch.manual_seed(0)
    settings = {"branch_channels": 32, "rates": (2, 4, 6), **options}
    return AtrousSpatialPyramid(8, 64, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(1, 1), (4, 8), (7, 13), (33, 2)])
def test_output_keeps_the_size_of_the_map(size: tuple[int, int]) -> None:
    assert pyramid()(torch.randn(2, 8, *size)).shape == (2, 64, *size)


def test_default_structure_is_that_of_the_paper() -> None:
    layer = AtrousSpatialPyramid(16, 128)
    assert [(b.kernel_size, b.dilation) for b in layer.branches] == [  # type: ignore[union-attr]
        ((1, 1), (1, 1)), ((3, 3), (6, 6)), ((3, 3), (12, 12)), ((3, 3), (18, 18)),
    ]  # fmt: skip
    assert all(b.out_channels == 128 for b in layer.branches)
    assert (layer.project.in_channels, layer.project.out_channels, layer.project.kernel_size) == (512, 128, (1, 1))
    # Each of the five convolutions has its norm in place of a bias.
    for conv in (*layer.branches, layer.project):
        assert isinstance(conv.norm, nn.GroupNorm)
        assert conv.norm.num_groups == 32
        assert conv.bias is None
        assert conv.activation is torch.nn.functional.relu


def test_receptive_field_has_exactly_the_dilated_taps() -> None:
    # Without a norm, which would mix all pixels, one output pixel depends on the input at its own place and at
    # offsets -r, 0, r in each direction of each rate.
    layer = pyramid(norm="", rates=(2, 5))
    x = torch.randn(1, 8, 15, 15, requires_grad=True)
    layer.branches.double()
    layer.project.double()
    layer(x.double())[0, :, 7, 7].sum().backward()
    seen = {tuple(p) for p in (x.grad[0].abs().sum(0) > 0).nonzero().tolist()}
    assert seen == {(7 + dy * r, 7 + dx * r) for r in (2, 5) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}


@pytest.mark.parametrize("rates", [(), (0, 6), (-1,)])
def test_invalid_rates_are_refused(rates: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="dilation rates must be 1 or more"):
        pyramid(rates=rates)


def test_without_norm_convolutions_have_a_bias() -> None:
    layer = pyramid(norm="")
    assert all(b.bias is not None and b.norm is None for b in layer.branches)


def test_activations_are_relu() -> None:
    assert (pyramid()(torch.randn(1, 8, 5, 5)) >= 0).all()
