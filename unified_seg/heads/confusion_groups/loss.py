"""The confusion-weighted loss of any semantic head.

Source: Geng et al., A Network Structure to Explicitly Reduce Confusion Errors in Semantic Segmentation, section 3.4.
"""

import logging
import math

import torch
from detectron2.config import CfgNode
from detectron2.utils.logger import log_first_n
from torch import Tensor, nn

from unified_seg.heads.confusion_groups.matrix_file import read_confusion
from unified_seg.heads.confusion_groups.weighted_cross_entropy import confusion_weighted_loss, normalize_rows
from unified_seg.heads.pixel_loss import PIXEL_LOSSES


@PIXEL_LOSSES.register()
class ConfusionWeightedLoss(nn.Module):
    """`confusion_weighted_loss` with the weights of a confusion matrix.

    Args:
        confusion: (K, K), rows the ground truth; see `normalize_rows`.
        wrong_weight: lambda, finite, 0 or more.

    Raises:
        ValueError: no confusion matrix, or another weight.
    """

    weights: Tensor

    def __init__(self, confusion: Tensor, wrong_weight: float = 5.0):
        super().__init__()
        if not 0 <= wrong_weight < math.inf:  # NaN too
            raise ValueError(f"the weight of wrong classes must be finite and 0 or more, got {wrong_weight}")
        self.wrong_weight = wrong_weight
        # No part of what a model is: a checkpoint neither needs nor brings it.
        self.register_buffer("weights", normalize_rows(confusion).float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor, ignore_value: int) -> Tensor:
        return confusion_weighted_loss(logits, targets, self.weights, ignore_value, self.wrong_weight)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "ConfusionWeightedLoss | None":
        """The loss of MODEL.SEM_SEG_HEAD.CONFUSION_LOSS; None where it names no matrix.

        Raises:
            ValueError: a file that is no confusion matrix of the head's classes, or a weight below 0.
        """
        confusion = configured_confusion(cfg)
        if confusion is None:
            return None
        try:
            return cls(confusion, cfg.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.LAMBDA)
        except ValueError as error:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.CONFUSION_LOSS: {error}") from None


def configured_confusion(cfg: CfgNode) -> Tensor | None:
    """The (K, K) matrix of CONFUSION_LOSS.MATRIX; None where the key is empty.

    Raises:
        ValueError: as `ConfusionWeightedLoss.from_config` for the file.
    """
    head = cfg.MODEL.SEM_SEG_HEAD
    if not head.CONFUSION_LOSS.MATRIX:
        return None
    try:
        matrix, names = read_confusion(head.CONFUSION_LOSS.MATRIX, head.CLASS_NAMES)
    except ValueError as error:
        raise ValueError(f"MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX: {error}") from None
    if len(names) != head.NUM_CLASSES:
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX: {head.CONFUSION_LOSS.MATRIX} is of {len(names)} classes, the "
            f"head has {head.NUM_CLASSES}"
        )
    confusion = torch.from_numpy(matrix.astype("float64"))
    try:
        found = normalize_rows(confusion).diag() > 0
    except ValueError as error:
        raise ValueError(f"MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX: {head.CONFUSION_LOSS.MATRIX}: {error}") from None
    if not found.all():
        lost = ", ".join(name for name, was_found in zip(names, found) if not was_found)
        message = f"{head.CONFUSION_LOSS.MATRIX}: no pixel of {lost} was found, and the loss will not ask for any"
        log_first_n(logging.WARNING, message, key="message")
    return confusion
