"""The detail branch: a decoder that classifies anew, if wanted only where it is asked.

Source: Error prediction and detail correction, 3.4 and Figure 2. N = images, K = classes, (h, w) = the finest feature.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads.error_correction.global_attention import DecoderBlock
from unified_seg.heads.error_correction.sparse_block import block_at, is_sparse_enough
from unified_seg.layers.conv import init_classifier
from unified_seg.ops.resampling import upsample_to


class DetailBranch(nn.Module):
    """One decoder block for each feature, from coarse to fine, then a classifier.

    Args:
        low_channels: of each feature, from coarse to fine.
        context_channels: of the high-level feature that goes into the first block.
        dim: width of the blocks.
        num_classes: K.
        gate, norm: as of GlobalAttentionUpsample.
    """

    def __init__(
        self,
        low_channels: Sequence[int],
        context_channels: int,
        dim: int,
        num_classes: int,
        *,
        gate: str,
        norm: str = "GN",
    ):
        super().__init__()
        highs = [context_channels, *[dim] * (len(low_channels) - 1)]
        self.blocks = nn.ModuleList(
            DecoderBlock(low, high, dim, gate=gate, norm=norm) for low, high in zip(low_channels, highs)
        )
        self.classifier = init_classifier(nn.Conv2d(dim, num_classes, 1))

    def forward(self, lows: Sequence[Tensor], context: Tensor) -> Tensor:
        """Logits (N, K, h, w).

        Args:
            lows: (N, C_i, h_i, w_i) from coarse to fine.
            context: (N, C', h', w').
        """
        for low, block in zip(lows, self.blocks, strict=True):
            context = block(low, context)
        return self.classifier(context)

    def at(self, lows: Sequence[Tensor], context: Tensor, mask: Tensor) -> Tensor:
        """Logits where they are asked for: the last block, which has most of the work, runs at few other cells.

        Args:
            lows, context: as of `forward`.
            mask: (N, 1, h, w) bool, the cells asked for.

        Returns:
            (N, K, h, w); where so much is asked for that nothing would be saved they are those of `forward`, else 0
            outside the mask.
        """
        *coarser, finest = lows
        for low, block in zip(coarser, self.blocks):
            context = block(low, context)
        return torch.cat(
            [self._at(low[None], high[None], cells) for low, high, cells in zip(finest, context, mask[:, 0])]
        )

    def _at(self, low: Tensor, high: Tensor, mask: Tensor) -> Tensor:
        """`at` for one image, (1, C, h, w), (1, C', h', w') and (h, w) -> (1, K, h, w), in its last block."""
        block = self.blocks[-1]
        assert isinstance(block, DecoderBlock)
        logits = low.new_zeros(1, self.classifier.out_channels, *mask.shape)
        if not mask.any():
            return logits
        if not is_sparse_enough(mask):
            return self.classifier(block(low, high))
        near = upsample_to(block.project(high), like=low)
        refined = block_at(block, low[0], near[0], block.attention(high), mask)
        found = F.linear(refined, self.classifier.weight[:, :, 0, 0], self.classifier.bias)
        logits[0, :, mask] = found.T.to(logits.dtype)
        return logits
