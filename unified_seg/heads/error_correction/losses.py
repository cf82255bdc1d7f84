"""Where a semantic map is wrong; the losses that learn to see it and to do better there; the two answers joined.

Source: the paper on erroneous pixel prediction, 3. N = images, K = classes, (H, W) = the targets.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.ops.losses import global_mean


class ErrorMap(NamedTuple):
    """Kinds of pixels, (N, H, W) bool each.

    Attributes:
        errors: pixels with a wrong class (equation 1).
        hard: the errors of which the map is sure.
        valid: pixels that have a class, right or wrong.
    """

    errors: Tensor
    hard: Tensor
    valid: Tensor


@torch.no_grad()
def find_errors(logits: Tensor, targets: Tensor, ignore_value: int, hard_confidence: float = 0.95) -> ErrorMap:
    """Compare a semantic map with the ground truth (3.3).

    Args:
        logits: (N, K, H, W), any float type; computed in float32.
        targets: (N, H, W) int64, classes or `ignore_value`.
        ignore_value: the label of pixels without a class.
        hard_confidence: rho; an error whose class has a larger probability is a hard one.
    """
    logits = logits.float()
    largest, labels = logits.max(dim=1)
    # The largest probability, without the other K - 1.
    confidence = (largest - logits.logsumexp(dim=1)).exp()
    valid = targets != ignore_value
    errors = valid & (labels != targets)
    return ErrorMap(errors, errors & (confidence > hard_confidence), valid)


def error_balance(error_map: ErrorMap) -> Tensor:
    """(N,) w3 of equation 2: how many errors an image has for each correct pixel."""
    errors, _, valid = error_map
    return errors.sum((1, 2)) / (valid & ~errors).sum((1, 2)).clamp(min=1)


def error_loss(error_logits: Tensor, error_map: ErrorMap, hard_weight: float = 1.5) -> Tensor:
    """The balanced binary cross-entropy of equation 2, over the valid pixels of the global batch.

    An easy error weighs 1, a hard one `hard_weight`, a correct pixel as much as its image has errors for each correct
    pixel: easy errors and correct pixels of an image weigh the same in all. An image without an error weighs nothing.

    Args:
        error_logits: (N, H, W) or (N, 1, H, W), any float type; computed in float32.
        error_map: of the same images.
        hard_weight: w2.

    Returns:
        A scalar; 0 with a zero gradient where there is no error. Pixels that are not valid have a zero gradient,
        whatever their logits.
    """
    errors, hard, valid = error_map
    balance = error_balance(error_map)[:, None, None]
    weights = torch.where(errors, torch.where(hard, hard_weight, 1.0), balance) * valid
    logits = error_logits.float().reshape(errors.shape).masked_fill(~valid, 0)
    total = F.binary_cross_entropy_with_logits(logits, errors.float(), weights, reduction="sum")
    return global_mean(total, valid.sum())


def masked_cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor, ignore_value: int) -> Tensor:
    """Cross-entropy averaged over the valid pixels of a mask, those of the global batch (equation 3).

    Args:
        logits: (N, K, H, W), any float type; computed in float32.
        targets: (N, H, W) int64, classes or `ignore_value`.
        mask: (N, H, W) bool.
        ignore_value: the label of pixels without a class.

    Returns:
        A scalar; 0 with a zero gradient where there is no such pixel. All other pixels have a zero gradient, whatever
        their logits.
    """
    chosen = mask & (targets != ignore_value)
    # Few pixels as a rule: taken out they need the softmax of no others.
    total = F.cross_entropy(logits.movedim(1, -1)[chosen].float(), targets[chosen], reduction="sum")
    return global_mean(total, chosen.sum())


@torch.no_grad()
def hardest_pixels(logits: Tensor, targets: Tensor, ignore_value: int, share: float = 0.2) -> Tensor:
    """The pixels with the highest cross-entropy (hard mining, 5.3.2); of equal ones, the first.

    Args:
        logits: (N, K, H, W), any float type; computed in float32.
        targets: (N, H, W) int64, classes or `ignore_value`.
        ignore_value: the label of pixels without a class.
        share: of the valid pixels of this process's batch, 0 to 1; at least one is taken.

    Returns:
        (N, H, W) bool.
    """
    losses = F.cross_entropy(logits.float(), targets, ignore_index=ignore_value, reduction="none")
    valid = (targets != ignore_value).flatten().nonzero()[:, 0]
    order = losses.flatten()[valid].argsort(descending=True, stable=True)
    chosen = torch.zeros_like(targets, dtype=torch.bool)
    chosen.view(-1)[valid[order[: max(round(share * len(valid)), 1)]]] = True
    return chosen


def correct(base_logits: Tensor, detail_logits: Tensor, mask: Tensor) -> Tensor:
    """Equation 5, P = E * P_detail + (1 - E) * P_base: the detail branch's answer in the mask, the base's elsewhere.

    With E either 0 or 1, choosing the probabilities is choosing the logits, which are their logarithms but for a
    constant of each cell. That constant changes neither softmax nor argmax, nor those of a bilinear resize.

    Args:
        base_logits, detail_logits: (N, K, h, w).
        mask: E, (N, h, w) or (N, 1, h, w) bool.

    Returns:
        (N, K, h, w) logits.
    """
    return torch.where(mask.reshape(len(mask), 1, *mask.shape[-2:]), detail_logits, base_logits)
