"""The error branch: the probability that a semantic head is wrong at each pixel.

Source: Gong et al., Erroneous pixel prediction for semantic image segmentation (2022), 3.3.
N = images, K = classes, (h, w) = the head's logits.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads.error_correction.global_attention import GlobalAttentionUpsample
from unified_seg.layers.conv import init_classifier, two_convs


class ErrorBranch(nn.Module):
    """A branch that reads the head's probabilities, the image and the head's context.

    Its loss gives the errors of an image the same total weight as the correct pixels, so that its probabilities are
    higher than the frequency of errors. `balance` is the factor between the odds of both.

    Args:
        num_classes: K.
        image_channels: of the network's input.
        context_channels: of the head's high-level feature.
        dim: width of the branch, at least 2: half of it reads the probabilities, half the image.
        norm: name of a norm for Detectron2's `get_norm`.

    Attributes:
        balance: the mean weight of a correct pixel in the images that it was trained on; a buffer.
    """

    balance: Tensor
    images_seen: Tensor

    def __init__(self, num_classes: int, image_channels: int, context_channels: int, dim: int, *, norm: str = "GN"):
        super().__init__()
        self.probabilities = two_convs(num_classes, dim // 2, norm=norm)
        self.image = two_convs(image_channels, dim - dim // 2, norm=norm)
        self.attention = GlobalAttentionUpsample(dim, context_channels, dim, norm=norm)
        self.classifier = init_classifier(nn.Conv2d(dim, 1, 1))
        self.register_buffer("balance", torch.ones(()))
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update_balance(self, balance: Tensor) -> None:
        """Include the weights (N,) of correct pixels in the images of a batch in the mean."""
        self.images_seen += len(balance)
        self.balance += (balance - self.balance).sum() / self.images_seen

    def unbalance(self, logits: Tensor) -> Tensor:
        """Return logits of probabilities as high as errors are frequent: odds times `balance`."""
        return logits + self.balance.clamp(min=1e-6).log().to(logits.dtype)

    def forward(self, logits: Tensor, image: Tensor, context: Tensor) -> Tensor:
        """Return the logits of an error.

        Args:
            logits: (N, K, h, w), of the head.
            image: (N, C, H, W), the network's input.
            context: (N, C', h', w').

        Returns:
            (N, 1, h, w).
        """
        fine = self.image(F.adaptive_avg_pool2d(image, (logits.shape[2], logits.shape[3])))
        low = torch.cat([self.probabilities(logits.float().softmax(1)), fine], dim=1)
        return self.classifier(F.relu(self.attention(low, context)))
