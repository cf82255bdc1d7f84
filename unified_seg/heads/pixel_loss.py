"""The loss that compares a head's logits with the ground truth."""

from collections.abc import Callable

from detectron2.config import CfgNode
from fvcore.common.registry import Registry
from torch import Tensor

from unified_seg.ops.losses import mean_cross_entropy

#: (logits (N, K, H, W), targets (N, H, W), ignore_value) -> a scalar.
PixelLoss = Callable[[Tensor, Tensor, int], Tensor]

PIXEL_LOSSES = Registry("PIXEL_LOSSES")
PIXEL_LOSSES.__doc__ = """Losses that a config can choose in place of cross-entropy.

A loss has a class method `from_config(cfg)`, which returns a PixelLoss, or None if the config does not ask for it.
"""


def build_pixel_loss(cfg: CfgNode) -> PixelLoss:
    """Return the loss of PIXEL_LOSSES that the config asks for; cross-entropy if it asks for none.

    Raises:
        ValueError: the config asks for several losses, or a loss refuses its keys.
    """
    chosen = {name: loss for name, cls in PIXEL_LOSSES if (loss := cls.from_config(cfg)) is not None}
    if len(chosen) > 1:
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD: only one pixel loss can be used, the config asks for {', '.join(chosen)}"
        )
    return next(iter(chosen.values()), mean_cross_entropy)
