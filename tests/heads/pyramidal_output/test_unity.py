import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor
from torch.nn import functional as F

from unified_seg.heads.pyramidal_output.unity import UnityPyramid
from unified_seg.layers.level_conv import concatenate

FACTORS = (8, 4, 2)


def build() -> UnityPyramid:
    torch.manual_seed(0)
    return UnityPyramid([6, 10], 16, factors=FACTORS, norm="")


def levels() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 6, 16, 24, generator=generator), torch.randn(2, 10, 8, 12, generator=generator)]


def compute_by_the_paper(layer: UnityPyramid, maps: list[Tensor], valid: Tensor | None = None) -> list[Tensor]:
    """Compute the probabilities (N, h / factor, w / factor) of each level as section 4.1 describes it."""
    embedded = F.relu(F.conv2d(concatenate(maps), layer.embed.weight, layer.embed.bias))
    positions = layer.position(embedded)
    valid = torch.ones_like(positions[:, :1]) if valid is None else valid
    result = []
    for factor in layer.factors:
        blocks = F.avg_pool2d(embedded * valid, factor) / F.avg_pool2d(valid, factor).clamp(min=1e-9)
        centroids = F.interpolate(layer.centroid(blocks), scale_factor=factor, mode="nearest")
        unity = layer.compare(positions - centroids).sigmoid()
        # compare(a - b) has its bias once, as the layer has.
        unity = torch.where(valid > 0, unity, torch.ones_like(unity))
        result.append(-F.max_pool2d(-unity, factor)[:, 0])
    return result


def test_result_equals_the_papers_steps() -> None:
    layer, maps = build(), levels()
    result = layer(maps)
    assert [tuple(level.shape) for level in result] == [(2, 2, 3), (2, 4, 6), (2, 8, 12)]
    for logits, expected in zip(result, compute_by_the_paper(layer, maps)):
        torch.testing.assert_close(logits.sigmoid(), expected, rtol=1e-4, atol=1e-6)


def test_border_changes_nothing_inside_the_image() -> None:
    layer, maps = build(), levels()
    valid = torch.zeros(2, 1, 16, 24)
    valid[0, :, :11, :19] = 1
    valid[1, :, :, :24] = 1
    result = layer(maps, valid)
    for logits, expected, factor in zip(result, compute_by_the_paper(layer, maps, valid), FACTORS):
        seen = F.max_pool2d(valid, factor)[:, 0] > 0
        torch.testing.assert_close(logits.sigmoid()[seen], expected[seen], rtol=1e-4, atol=1e-6)
    # The features in the border may have any values.
    other = [level.clone() for level in maps]
    other[0][0, :, 12:], other[0][0, :, :, 20:] = 9, -9
    for before, after, factor in zip(result, layer(other, valid), FACTORS):
        seen = F.max_pool2d(valid, factor)[:, 0] > 0
        torch.testing.assert_close(before[seen], after[seen])


def test_constant_map_has_the_same_unity_everywhere() -> None:
    layer = build()
    flat = [torch.ones(1, 6, 16, 24), torch.ones(1, 10, 8, 12)]
    for logits in layer(flat):
        torch.testing.assert_close(logits, logits.flatten()[0].expand_as(logits))


@pytest.mark.parametrize("norm", ["GN", "BN"])
def test_gradients_reach_every_parameter(norm: str) -> None:
    layer = UnityPyramid([6, 10], 16, factors=FACTORS, norm=norm)
    sum(F.softplus(level).sum() for level in layer(levels())).backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


def test_operations_can_be_counted() -> None:
    """4 channels on 4x4 positions, D_u = 8."""
    unity = UnityPyramid([4], 8, factors=[2], norm="")
    embedding, comparison = 16 * 4 * 8, 16 * 8 * 2
    # Of position and centroid: a row of 8 times an 8x8 weight, and times a bias.
    composition = 2 * (8 * 8 + 8)
    counted = FlopCountAnalysis(unity, ([torch.zeros(1, 4, 4, 4)],)).total()
    assert counted == embedding + composition + comparison
