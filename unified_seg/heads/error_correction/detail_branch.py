"""The detail branch: a decoder that classifies pixels again.

Source: Gong et al., Erroneous pixel prediction for semantic image segmentation (2022), 3.4 and Figure 2.
N = images, K = classes, (h, w) = the finest feature.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from unified_seg.heads.error_correction.global_attention import DecoderBlock
from unified_seg.layers.conv import init_classifier


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
