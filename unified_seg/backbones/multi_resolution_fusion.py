"""HRNet's multi-resolution fusion.

Source: Sun et al., Deep High-Resolution Representation Learning (2019), section 3.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.layers.conv import conv_norm
from unified_seg.ops.resampling import upsample_to


class MultiResolutionFusion(nn.Module):
    """The sum of all maps at each resolution, followed by ReLU.

    A 1x1 convolution and upsampling bring a coarser map to the size and width of a finer one; 3x3 convolutions of
    stride 2, one for each halving, bring a finer map to those of a coarser one.

    Args:
        channels: widths of the maps, from fine to coarse; each map has half the size of the one before.
        norm: a name for Detectron2's `get_norm`.
    """

    def __init__(self, channels: Sequence[int], *, norm: str = "GN"):
        super().__init__()
        self.paths = nn.ModuleList(
            nn.ModuleList(_build_path(channels, source, target, norm) for source in range(len(channels)))
            for target in range(len(channels))
        )

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Fuse maps (N, C_i, h_i, w_i), from fine to coarse; the shapes do not change."""
        fused = []
        for target, own in enumerate(levels):
            paths: Any = self.paths[target]
            parts = [upsample_to(path(level), like=own) for path, level in zip(paths, levels)]
            fused.append(F.relu(sum(parts[1:], start=parts[0])))
        return fused


def _build_path(channels: Sequence[int], source: int, target: int, norm: str) -> nn.Module:
    """Build the layers that bring the map `source` to the size (if smaller) and width of `target`."""
    if source == target:
        return nn.Identity()
    if source > target:
        return conv_norm(channels[source], channels[target], 1, norm=norm)
    steps: list[nn.Module] = []
    for step in range(source, target):
        last = step == target - 1
        steps.append(conv_norm(channels[source], channels[target if last else source], 3, norm=norm, stride=2))
        steps += [] if last else [nn.ReLU()]
    return nn.Sequential(*steps)
