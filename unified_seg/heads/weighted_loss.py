"""Cross-entropy with weights of classes, focus and mining of hard pixels, and Dice, for any semantic head."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from unified_seg.heads.pixel_loss import PIXEL_LOSSES
from unified_seg.ops.losses import dice_loss, weighted_cross_entropy


@PIXEL_LOSSES.register()
class WeightedCrossEntropy(nn.Module):
    """`weighted_cross_entropy`, and `dice_loss` beside it, with the options of MODEL.SEM_SEG_HEAD.LOSS.

    Args:
        class_weights: one for each class, finite and 0 or more, at least one above 0; empty: all 1.
        focus: gamma of the focal loss, finite and 0 or more.
        hard_share: the share of the pixels that is counted, in (0, 1].
        undo_weights: from 0 to 1; the loss compares logits + undo_weights * log(class weight). Weights alone make a
            head predict rare classes too often: at the minimum its softmax is p_i w_i, but for a factor, for a class
            of true probability p_i. With 1 it is p_i, and rare classes still have large gradients while they are
            learned. The offsets follow Menon et al., Long-tail Learning via Logit Adjustment (2021), eq. 11.
        dice: the weight of the Dice loss, finite and 0 or more.

    Raises:
        ValueError: another value.
    """

    class_weights: Tensor | None
    offsets: Tensor | None

    def __init__(
        self,
        class_weights: Sequence[float] = (),
        focus: float = 0.0,
        hard_share: float = 1.0,
        undo_weights: float = 0.0,
        dice: float = 0.0,
    ):
        super().__init__()
        if not all(0 <= weight < math.inf for weight in class_weights) or (class_weights and not any(class_weights)):
            raise ValueError(f"CLASS_WEIGHTS must be finite, 0 or more, and not all 0, got {list(class_weights)}")
        if not 0 <= focus < math.inf:
            raise ValueError(f"FOCUS must be finite and 0 or more, got {focus}")
        if not 0 < hard_share <= 1:
            raise ValueError(f"HARD_SHARE must be from 0 to 1, got {hard_share}")
        if not 0 <= undo_weights <= 1:
            raise ValueError(f"UNDO_WEIGHTS must be from 0 to 1, got {undo_weights}")
        if not 0 <= dice < math.inf:
            raise ValueError(f"DICE must be finite and 0 or more, got {dice}")
        self.focus = focus
        self.hard_share = hard_share
        self.dice = dice
        # Not saved: a model that only predicts is built without it.
        weights = torch.tensor(class_weights) if class_weights else None
        self.register_buffer("class_weights", weights, persistent=False)
        # A class of weight 0 is not learned, and has no offset.
        offsets = undo_weights * weights.where(weights > 0, 1.0).log() if weights is not None and undo_weights else None
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor, ignore_value: int) -> Tensor:
        loss = weighted_cross_entropy(
            logits if self.offsets is None else logits.float() + self.offsets[:, None, None],
            targets,
            ignore_value,
            class_weights=self.class_weights,
            focus=self.focus,
            hard_share=self.hard_share,
        )
        return loss + self.dice * dice_loss(logits, targets, ignore_value) if self.dice else loss

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Self | None:
        """Build the loss of MODEL.SEM_SEG_HEAD.LOSS; None if its keys have their defaults.

        Raises:
            ValueError: an invalid value; another number of weights than classes.
        """
        head = cfg.MODEL.SEM_SEG_HEAD
        weights, focus, hard_share = head.LOSS.CLASS_WEIGHTS, head.LOSS.FOCUS, head.LOSS.HARD_SHARE
        if head.LOSS.UNDO_WEIGHTS and not weights and not head.LOSS.FREQUENCY_POWER:
            raise ValueError("MODEL.SEM_SEG_HEAD.LOSS.UNDO_WEIGHTS: needs FREQUENCY_POWER or CLASS_WEIGHTS")
        if not (weights or focus or hard_share or head.LOSS.DICE):
            return None
        if weights and len(weights) != head.NUM_CLASSES:
            raise ValueError(
                f"MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS: must have a weight for each of the {head.NUM_CLASSES} "
                f"classes, got {len(weights)}"
            )
        try:
            return cls(weights, focus, hard_share or 1.0, head.LOSS.UNDO_WEIGHTS, head.LOSS.DICE)
        except ValueError as error:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.LOSS: {error}") from None
