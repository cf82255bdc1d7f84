import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads.error_correction.global_attention import DecoderBlock, GlobalAttentionUpsample

sizes = st.tuples(st.integers(1, 13), st.integers(1, 13))


def maps(low: tuple[int, int], high: tuple[int, int], images: int = 2) -> list[Tensor]:
    """A fine map of 6 channels and a coarse one of 10."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(images, width, *size, generator=generator) for width, size in ((6, low), (10, high))]


def normalize(x: Tensor, norm: nn.Module) -> Tensor:
    """GroupNorm's formula, with its weight and bias."""
    assert isinstance(norm, nn.GroupNorm)
    grouped = x.reshape(len(x), norm.num_groups, -1)
    spread = ((grouped - grouped.mean(2, keepdim=True)) ** 2).mean(2, keepdim=True)
    even = ((grouped - grouped.mean(2, keepdim=True)) / (spread + norm.eps).sqrt()).reshape(x.shape)
    return even * norm.weight[:, None, None] + norm.bias[:, None, None]


def conv_plainly(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A convolution as a sum over its taps, then its norm, if any."""
    reach = conv.kernel_size[0] // 2
    height, width = x.shape[-2:]
    padded = F.pad(x, [reach] * 4)
    result = torch.zeros(len(x), conv.out_channels, height, width)
    for i in range(conv.kernel_size[0]):
        for j in range(conv.kernel_size[1]):
            tap = padded[:, :, i : i + height, j : j + width]
            result += torch.einsum("nchw,oc->nohw", tap, conv.weight[:, :, i, j])
    if conv.bias is not None:
        result += conv.bias[:, None, None]
    return result if conv.norm is None else normalize(result, conv.norm)  # type: ignore[arg-type]


def upsample_plainly(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear between the centers of cells, as matrices: row i of the result lies at (i + 0.5) * h / H - 0.5."""
    ways = []
    for length, cells in zip(size, x.shape[-2:]):
        way = torch.zeros(length, cells)
        for i in range(length):
            at = min(max((i + 0.5) * cells / length - 0.5, 0), cells - 1)
            first = int(at)
            way[i, first] += 1 - (at - first)
            way[i, min(first + 1, cells - 1)] += at - first
        ways.append(way)
    return torch.einsum("yi,ncij,xj->ncyx", ways[0], x, ways[1])


def randomize(layer: nn.Module) -> None:
    """Norms and biases that do something."""
    torch.manual_seed(2)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)


@settings(max_examples=40, deadline=None)
@given(low=sizes, high=sizes, width=st.sampled_from([10, 12]))
def test_equals_a_plain_reference(low: tuple[int, int], high: tuple[int, int], width: int) -> None:
    layer = GlobalAttentionUpsample(6, 10, width)
    randomize(layer)
    fine, coarse = maps(low, high)
    weights = conv_plainly(coarse.mean((2, 3), keepdim=True), layer.weigh)
    weights = 1 / (1 + torch.exp(-weights))
    # Of another width the coarse map is projected, else it is added as it is.
    added = coarse if width == 10 else conv_plainly(coarse, layer.project)
    expected = conv_plainly(fine, layer.low) * weights + upsample_plainly(added, low)
    torch.testing.assert_close(layer(fine, coarse), expected, rtol=1e-3, atol=1e-4)


def with_constant_gate(value: float) -> GlobalAttentionUpsample:
    """Return a layer whose gate is the sigmoid of a value, whatever the coarse map."""
    layer = GlobalAttentionUpsample(6, 10, 10)
    nn.init.zeros_(layer.weigh.weight)
    nn.init.constant_(layer.weigh.bias, value)
    return layer


def test_closed_gate_leaves_the_upsampled_coarse_map() -> None:
    fine, coarse = maps((8, 12), (4, 6))
    expected = F.interpolate(coarse, size=(8, 12), mode="bilinear")
    assert torch.equal(with_constant_gate(-200.0)(fine, coarse), expected)


def test_open_gate_adds_the_whole_fine_map() -> None:
    fine, coarse = maps((8, 12), (4, 6))
    layer = with_constant_gate(200.0)
    assert torch.equal(layer(fine, 0 * coarse), layer.low(fine))


def test_gate_depends_on_the_whole_coarse_map() -> None:
    """With a norm on its single position it would give the same for any input."""
    layer = GlobalAttentionUpsample(6, 10, 10)
    coarse = torch.randn(1, 10, 5, 7, requires_grad=True)
    gate = layer.attention(coarse)
    assert gate.shape == (1, 10, 1, 1)
    gate.sum().backward()
    assert (coarse.grad.abs().sum(1) > 0).all()
    assert not torch.allclose(gate, layer.attention(3 * coarse))


def test_parameters_have_the_expected_shapes() -> None:
    assert isinstance(GlobalAttentionUpsample(6, 10, 10).project, nn.Identity)
    layer = GlobalAttentionUpsample(6, 10, 12)
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters() if "norm" not in name}
    # The norms of the other two take their biases' place; after the pool there is none.
    assert shapes == {
        "low.weight": (12, 6, 3, 3),
        "weigh.weight": (12, 10, 1, 1),
        "weigh.bias": (12,),
        "project.weight": (12, 10, 1, 1),
    }
    assert layer.weigh.norm is None
    # 128 channels in 32 groups, as the paper has them.
    assert GlobalAttentionUpsample(6, 10, 128).low.norm.num_groups == 32


@settings(max_examples=20, deadline=None)
@given(low=sizes, high=sizes)
def test_decoder_block_adds_two_convolutions(low: tuple[int, int], high: tuple[int, int]) -> None:
    block = DecoderBlock(6, 10, 12)
    randomize(block)
    fine, coarse = maps(low, high)
    expected = GlobalAttentionUpsample.forward(block, fine, coarse)
    for conv in block.convs:
        assert (conv.kernel_size, conv.in_channels, conv.out_channels) == ((3, 3), 12, 12)
        expected = conv_plainly(expected, conv).clamp(min=0)
    torch.testing.assert_close(block(fine, coarse), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("norm", ["GN", "BN", "SyncBN"])
@pytest.mark.parametrize("high", [(4, 5), (1, 2)])
def test_trains_at_batch_size_one(norm: str, high: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = DecoderBlock(6, 10, 12, norm=norm)
    block(*maps((8, 9), high, images=1)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in block.parameters())


def test_coarse_map_of_one_cell_is_added_everywhere() -> None:
    fine, coarse = maps((7, 5), (1, 1), images=1)
    block = DecoderBlock(6, 10, 10)
    expected = block.low(fine) * block.attention(coarse) + coarse
    torch.testing.assert_close(GlobalAttentionUpsample.forward(block, fine, coarse), expected)
    assert block(fine, coarse).shape == (1, 10, 7, 5)
    DecoderBlock(6, 10, 12)(fine, coarse).sum().backward()


def test_images_of_a_batch_do_not_mix() -> None:
    block = DecoderBlock(6, 10, 12)
    fine, coarse = maps((8, 9), (4, 5))
    torch.testing.assert_close(block(fine, coarse)[1:], block(fine[1:], coarse[1:]), rtol=1e-4, atol=1e-5)
