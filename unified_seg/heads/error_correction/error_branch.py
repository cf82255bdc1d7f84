"""The error branch: how probably a semantic head is wrong at each pixel.

Source: Error prediction and detail correction, 3.3. N = images, K = classes, (h, w) = the head's logits.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads.error_correction.global_attention import GlobalAttentionUpsample
from unified_seg.layers.conv import init_classifier, two_convs


class ErrorBranch(nn.Module):
    """Looks at what the head says, at the image, and at the head's context.

    Its loss weighs the errors of an image as much as the correct pixels, however few they are, so its probabilities are
    too high. `balance` remembers by how much.

    Args:
        num_classes: K.
        image_channels: of the network's input.
        context_channels: of the head's high-level feature.
        dim: width of the branch, at least 2: half of it sees the probabilities, half the image.
        gate, norm: as of GlobalAttentionUpsample.

    Attributes:
        balance: the mean weight of a correct pixel in the images that it was trained on; a buffer.
    """

    balance: Tensor
    images_seen: Tensor

    def __init__(
        self, num_classes: int, image_channels: int, context_channels: int, dim: int, *, gate: str, norm: str = "GN"
    ):
        super().__init__()
        self.probabilities = two_convs(num_classes, dim // 2, norm=norm)
        self.image = two_convs(image_channels, dim - dim // 2, norm=norm)
        self.attention = GlobalAttentionUpsample(dim, context_channels, dim, gate=gate, norm=norm)
        self.classifier = init_classifier(nn.Conv2d(dim, 1, 1))
        self.register_buffer("balance", torch.ones(()))
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def remember(self, balance: Tensor) -> None:
        """Take the weights (N,) of correct pixels in the images of a batch into the mean."""
        self.images_seen += len(balance)
        self.balance += (balance - self.balance).sum() / self.images_seen

    def unbalanced(self, logits: Tensor) -> Tensor:
        """Logits of probabilities that are as high as errors are frequent: odds times `balance`."""
        return logits + self.balance.clamp(min=1e-6).log().to(logits.dtype)

    def forward(self, logits: Tensor, image: Tensor, context: Tensor) -> Tensor:
        """The logits of an error.

        Args:
            logits: (N, K, h, w), the head's.
            image: (N, C, H, W), the network's input.
            context: (N, C', h', w').

        Returns:
            (N, 1, h, w).
        """
        seen = self.image(F.adaptive_avg_pool2d(image, (logits.shape[2], logits.shape[3])))
        low = torch.cat([self.probabilities(logits.float().softmax(1)), seen], dim=1)
        return self.classifier(F.relu(self.attention(low, context)))
