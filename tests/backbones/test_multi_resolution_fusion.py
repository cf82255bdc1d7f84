import torch
from torch import nn
from torch.nn import functional as F

from unified_seg.backbones.multi_resolution_fusion import MultiResolutionFusion

CHANNELS = (4, 6, 8)


def test_each_output_is_the_sum_of_all_maps() -> None:
    torch.manual_seed(0)
    fusion = MultiResolutionFusion(CHANNELS, norm="")
    fine, middle, coarse = levels = [torch.randn(2, c, 16 >> i, 24 >> i) for i, c in enumerate(CHANNELS)]
    paths = fusion.paths

    def up(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)

    expected = [
        fine + up(paths[0][1](middle), fine) + up(paths[0][2](coarse), fine),
        paths[1][0](fine) + middle + up(paths[1][2](coarse), middle),
        paths[2][0](fine) + paths[2][1](middle) + coarse,
    ]
    for fused, total in zip(fusion(levels), expected, strict=True):
        torch.testing.assert_close(fused, total.clamp(min=0))


def test_paths_change_size_and_width() -> None:
    fusion = MultiResolutionFusion(CHANNELS)
    assert isinstance(fusion.paths[1][1], nn.Identity)
    assert fusion.paths[0][2].kernel_size == (1, 1)
    # From fine to coarse the last of the strided convolutions changes the width, with a ReLU before it.
    down = [m for m in fusion.paths[2][0] if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.stride) for c in down] == [(4, 4, (2, 2)), (4, 8, (2, 2))]
    assert [type(m) is nn.ReLU for m in fusion.paths[2][0]] == [False, True, False]
