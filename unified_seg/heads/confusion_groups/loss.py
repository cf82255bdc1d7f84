"""The confusion-weighted cross-entropy: it also penalizes the probabilities of classes that are often confused.

Source: Geng et al., A Network Structure to Explicitly Reduce Confusion Errors in Semantic Segmentation (2018),
sections 3.2 and 3.4. N = images, K = classes, (H, W) = the targets.
"""

import logging
import math
from typing import Self

import torch
from detectron2.config import CfgNode
from detectron2.utils.logger import log_first_n
from torch import Tensor, nn

from unified_seg.heads.confusion_groups.matrix import normalize_rows, read_confusion
from unified_seg.heads.pixel_loss import PIXEL_LOSSES
from unified_seg.ops.losses import global_mean


def confusion_weighted_loss(
    logits: Tensor, targets: Tensor, weights: Tensor, ignore_value: int, wrong_weight: float = 5.0
) -> Tensor:
    """Return equation 3 with the sign of its gradient (4), averaged over the valid pixels of the global batch.

    For a pixel of class i, with the softmax q of its logits:

        L = - c_ii log q_i - lambda * sum over j != i of c_ij log(1 - q_j)

    (As printed, the second term has the other sign, and would reward confusion.)

    Args:
        logits: (N, K, H, W); computed in float32, or in float64 if that is their type.
        targets: (N, H, W) int64, classes or `ignore_value`.
        weights: C, (K, K), the confusion matrix with rows (the ground truth) that sum to 1; see `normalize_rows`.
        ignore_value: the label of pixels without a class.
        wrong_weight: lambda, 0 or more.

    Returns:
        A scalar, finite also where q is rounded to 0 or 1; 0 with a zero gradient if every pixel is ignored.

    Raises:
        IndexError, RuntimeError: a label that is not a class; on a GPU its assertion.
    """
    valid = targets != ignore_value
    # (pixels, K); ignored pixels are left out, so that their logits may be anything.
    if logits.device.type == "cpu":
        logits, classes, counts = logits.movedim(1, -1)[valid], targets[valid], valid[valid]
    else:
        # Faster than to wait for the number of pixels.
        logits = logits.masked_fill(~valid[:, None], 0).movedim(1, -1).flatten(0, 2)
        classes, counts = targets.masked_fill(~valid, 0).flatten(), valid.flatten()
    if logits.dtype != torch.float64:
        logits = logits.float()
    weights = weights.to(logits)
    wrong_weights = wrong_weight * (weights - weights.diag().diag())
    log_q = logits.log_softmax(1)
    right = weights.diag()[classes] * log_q.gather(1, classes[:, None])[:, 0]
    wrong = (wrong_weights[classes] * _log_complement(log_q)).sum(1)
    return global_mean(-((right + wrong) * counts).sum(), valid.sum())


def _log_complement(log_q: Tensor) -> Tensor:
    """Return log(1 - q) of log-probabilities (P, K), also where 1 - q is rounded to 0."""
    top = log_q.argmax(1, keepdim=True)
    # At most one class has more than a half, and for that one 1 - q is the sum of the others.
    others = log_q.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
    return torch.log1p(-log_q.exp().scatter(1, top, 0)).scatter(1, top, others)


@PIXEL_LOSSES.register()
class ConfusionWeightedLoss(nn.Module):
    """`confusion_weighted_loss` with the weights of a confusion matrix.

    Args:
        confusion: (K, K), rows the ground truth; see `normalize_rows`.
        wrong_weight: lambda, finite, 0 or more.

    Raises:
        ValueError: an invalid confusion matrix or weight.
    """

    weights: Tensor

    def __init__(self, confusion: Tensor, wrong_weight: float = 5.0):
        super().__init__()
        if not 0 <= wrong_weight < math.inf:  # NaN too
            raise ValueError(f"LAMBDA must be finite and at least 0, got {wrong_weight}")
        self.wrong_weight = wrong_weight
        # Not saved: a model that only predicts is built without the matrix.
        self.register_buffer("weights", normalize_rows(confusion).float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor, ignore_value: int) -> Tensor:
        return confusion_weighted_loss(logits, targets, self.weights, ignore_value, self.wrong_weight)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Self | None:
        """Build the loss of MODEL.SEM_SEG_HEAD.CONFUSION_LOSS; None if it names no matrix.

        Raises:
            ValueError: see `read_configured_confusion`; an invalid LAMBDA; or class weights by LOSS.FREQUENCY_POWER,
                which only become weights when the labels are counted.
        """
        confusion = read_configured_confusion(cfg)
        if confusion is None:
            return None
        if cfg.MODEL.SEM_SEG_HEAD.LOSS.FREQUENCY_POWER:
            raise ValueError(
                "MODEL.SEM_SEG_HEAD: only one pixel loss can be used, the config asks for CONFUSION_LOSS.MATRIX and "
                "LOSS.FREQUENCY_POWER"
            )
        try:
            return cls(confusion, cfg.MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.LAMBDA)
        except ValueError as error:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.CONFUSION_LOSS: {error}") from None


def read_configured_confusion(cfg: CfgNode) -> Tensor | None:
    """Read the (K, K) float64 matrix of CONFUSION_LOSS.MATRIX; None if the key is empty.

    A class of which no pixel was found has no weight in the loss; a warning names it.

    Raises:
        ValueError: the file does not hold a valid confusion matrix of the head's classes.
    """
    head = cfg.MODEL.SEM_SEG_HEAD
    path = head.CONFUSION_LOSS.MATRIX
    if not path:
        return None
    key = "MODEL.SEM_SEG_HEAD.CONFUSION_LOSS.MATRIX"
    try:
        matrix, names = read_confusion(path, head.CLASS_NAMES)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    if len(names) != head.NUM_CLASSES:
        raise ValueError(f"{key}: {path}: must have the head's {head.NUM_CLASSES} classes, got {len(names)}")
    confusion = torch.from_numpy(matrix.astype("float64"))
    try:
        found = normalize_rows(confusion).diag() > 0
    except ValueError as error:
        raise ValueError(f"{key}: {path}: {error}") from None
    if not found.all():
        lost = ", ".join(name for name, is_found in zip(names, found) if not is_found)
        message = f"{path}: no pixel of {lost} was found; these classes have no weight in the loss"
        log_first_n(logging.WARNING, message, key="message")
    return confusion
