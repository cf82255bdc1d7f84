"""The detail branch: a decoder that classifies pixels again, optionally only those of a mask.

Source: Gong et al., Erroneous pixel prediction for semantic image segmentation (2022), 3.4 and Figure 2.
N = images, K = classes, (h, w) = the finest feature.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads.error_correction.global_attention import DecoderBlock
from unified_seg.heads.error_correction.sparse_block import compute_block_at, is_sparse_enough
from unified_seg.layers.conv import init_classifier
from unified_seg.ops.resampling import upsample_to


class DetailBranch(nn.Module):
    """One decoder block for each feature, from coarse to fine, then a classifier.

    Args:
        low_channels: of each feature, from coarse to fine.
        context_channels: of the high-level feature that goes into the first block.
        dim: width of the blocks.
        num_classes: K.
        norm: name of a norm for Detectron2's `get_norm`.
    """

    def __init__(
        self,
        low_channels: Sequence[int],
        context_channels: int,
        dim: int,
        num_classes: int,
        *,
        norm: str = "GN",
    ):
        super().__init__()
        highs = [context_channels, *[dim] * (len(low_channels) - 1)]
        self.blocks = nn.ModuleList(DecoderBlock(low, high, dim, norm=norm) for low, high in zip(low_channels, highs))
        self.classifier = init_classifier(nn.Conv2d(dim, num_classes, 1))

    def forward(self, lows: Sequence[Tensor], context: Tensor) -> Tensor:
        """Return logits (N, K, h, w).

        Args:
            lows: (N, C_i, h_i, w_i) from coarse to fine.
            context: (N, C', h', w').
        """
        for low, block in zip(lows, self.blocks, strict=True):
            context = block(low, context)
        return self.classifier(context)

    def predict_masked(self, lows: Sequence[Tensor], context: Tensor, mask: Tensor) -> Tensor:
        """Return the logits at the cells of a mask; the last block, most of the work, runs at few other cells.

        Args:
            lows, context: see `forward`.
            mask: (N, 1, h, w) bool.

        Returns:
            (N, K, h, w); 0 outside the mask. An image with many cells in the mask, which would not be faster, is
            computed everywhere.
        """
        *coarser, finest = lows
        for low, block in zip(coarser, self.blocks):
            context = block(low, context)
        return torch.cat(
            [
                self._predict_masked_image(low[None], high[None], cells)
                for low, high, cells in zip(finest, context, mask[:, 0])
            ]
        )

    def _predict_masked_image(self, low: Tensor, high: Tensor, mask: Tensor) -> Tensor:
        """Run the last block of `predict_masked`: (1, C, h, w), (1, C', h', w') and (h, w) -> (1, K, h, w)."""
        block = self.blocks[-1]
        assert isinstance(block, DecoderBlock)
        logits = low.new_zeros(1, self.classifier.out_channels, *mask.shape)
        if not mask.any():
            return logits
        if not is_sparse_enough(mask):
            return self.classifier(block(low, high))
        near = upsample_to(block.project(high), like=low)
        refined = compute_block_at(block, low[0], near[0], block.attention(high), mask)
        found = F.linear(refined, self.classifier.weight[:, :, 0, 0], self.classifier.bias)
        logits[0, :, mask] = found.T.to(logits.dtype)
        return logits
