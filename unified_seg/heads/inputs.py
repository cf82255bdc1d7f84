"""The inputs of a semantic head.

N = images, (H, W) = the padded input, s_i = the stride of a feature.
"""

from dataclasses import dataclass

from torch import Tensor

Features = dict[str, Tensor]


@dataclass(frozen=True)
class HeadInputs:
    """The inputs of a semantic head for a batch.

    UnifiedSegmentor gives all of them, Detectron2's own meta-architectures give the features alone.

    Attributes:
        features: maps of the backbone by name, (N, C_i, H / s_i, W / s_i).
        image: the normalized, padded input (N, C, H, W).
        valid: (N, 1, H, W) bool, False in the border that pads an image; None if nothing is padded.
    """

    features: Features
    image: Tensor | None = None
    valid: Tensor | None = None
