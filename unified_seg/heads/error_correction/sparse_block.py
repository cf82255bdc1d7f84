"""A decoder block of the detail branch that is computed at few cells of a map.

The paper (Gong et al., Erroneous pixel prediction for semantic image segmentation, 2022, section 3.4) computes the
detail branch everywhere. C_low, C = channels of the fine map and of the block, (h, w) = the map, n = cells of a mask.
"""

from dataclasses import dataclass

import torch
from detectron2.layers import Conv2d
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads.error_correction.global_attention import DecoderBlock

# The fewest cells that a norm's statistics are estimated from, and the largest share of a map that saves time.
SAMPLES = 96
LARGEST_SHARE = 0.5


def compute_block_at(block: DecoderBlock, low: Tensor, high: Tensor, gate: Tensor, mask: Tensor) -> Tensor:
    """Compute the output of a decoder block at the cells of a mask: each convolution runs where the next one reads.

    A GroupNorm needs the statistics of the whole map, which is not computed. They are estimated from a regular grid of
    cells, which represents the map better than the cells of the mask would. With other norms in inference, or none,
    the result is that of the whole block.

    Args:
        block: in inference mode.
        low: (C_low, h, w).
        high: (C, h, w), of `block.project`, brought to the size of `low`.
        gate: (1, C, 1, 1), of `block.attention`.
        mask: (h, w) bool with n cells.

    Returns:
        (n, C), in the order of `mask.nonzero()`.
    """
    grid = _regular_grid(mask)
    first, second = block.convs
    at_low, at_first, at_second = (_Cells.from_mask(mask, grid, border) for border in (2, 1, 0))
    fused = at_low.convolve(block.low, low) * gate.flatten() + at_low.pick(high)
    refined = at_first.convolve(first, at_low.put(fused))
    return at_second.convolve(second, at_first.put(refined))[mask[at_second.mask]]


def is_sparse_enough(mask: Tensor) -> bool:
    """Return whether computing the cells of a mask (h, w) is faster than computing the whole map."""
    return bool(_Cells.from_mask(mask, _regular_grid(mask), 2).mask.float().mean() < LARGEST_SHARE)


@dataclass(frozen=True)
class _Cells:
    """Cells of a map at which a convolution runs.

    Attributes:
        mask: (h, w) bool.
        of_grid: (cells,) bool, those that a norm's statistics are estimated from.
    """

    mask: Tensor
    of_grid: Tensor

    @classmethod
    def from_mask(cls, mask: Tensor, grid: Tensor, border: int) -> "_Cells":
        """Return the cells of mask and grid, with a border around them."""
        wide, wide_grid = _widen(mask | grid, border), _widen(grid, border)
        return cls(wide, wide_grid[wide])

    def pick(self, values: Tensor) -> Tensor:
        """(C, h, w) -> (cells, C)."""
        return values[:, self.mask].T

    def put(self, values: Tensor) -> Tensor:
        """(cells, C) -> (C, h, w), 0 elsewhere."""
        result = values.new_zeros(values.shape[1], *self.mask.shape)
        result[:, self.mask] = values.T
        return result

    def convolve(self, conv: Conv2d, values: Tensor) -> Tensor:
        """Apply a 3x3 convolution with its norm and activation: (C, h, w) -> (cells, C')."""
        # Channels last, so that those of a cell are read at once; zero beyond the map.
        rows = F.pad(values, (1, 1, 1, 1)).permute(1, 2, 0).flatten(0, 1)
        y, x = self.mask.nonzero(as_tuple=True)
        width = values.shape[2] + 2
        result = values.new_zeros(len(y), conv.out_channels) if conv.bias is None else conv.bias.expand(len(y), -1)
        for dy in range(3):
            for dx in range(3):
                result = torch.addmm(result, rows[(y + dy) * width + x + dx], conv.weight[:, :, dy, dx].T)
        result = self._normalize(conv.norm, result)
        return result if conv.activation is None else conv.activation(result)

    def _normalize(self, norm: nn.Module | None, values: Tensor) -> Tensor:
        if norm is None:
            return values
        if not isinstance(norm, nn.GroupNorm):
            return norm(values.T[None, :, :, None])[0, :, :, 0].T
        grouped = values.unflatten(1, (norm.num_groups, -1)).float()
        variance, mean = torch.var_mean(grouped[self.of_grid], (0, 2), correction=0, keepdim=True)
        normalized = ((grouped - mean) * (variance + norm.eps).rsqrt()).flatten(1)
        return (normalized * norm.weight + norm.bias).to(values.dtype)


def _regular_grid(mask: Tensor) -> Tensor:
    """Return cells at equal distances, at least SAMPLES of them."""
    height, width = mask.shape
    step = max(int((height * width / SAMPLES) ** 0.5), 1)
    grid = torch.zeros_like(mask)
    grid[step // 2 :: step, step // 2 :: step] = True
    return grid


def _widen(mask: Tensor, border: int) -> Tensor:
    return F.max_pool2d(mask[None].float(), 2 * border + 1, stride=1, padding=border)[0] > 0
