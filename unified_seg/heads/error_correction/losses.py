"""The errors of a semantic map, the losses of both branches, and the join of both predictions.

Source: Gong et al., Erroneous pixel prediction for semantic image segmentation (2022), section 3. N = images,
K = classes, (H, W) = the targets.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.heads.pixel_loss import PixelLoss
from unified_seg.ops.losses import global_mean, mean_cross_entropy


class ErrorMap(NamedTuple):
    """Kinds of pixels, (N, H, W) bool each.

    Attributes:
        errors: pixels with a wrong class (equation 1).
        hard: errors of high confidence.
        valid: pixels that have a class.
    """

    errors: Tensor
    hard: Tensor
    valid: Tensor


@torch.no_grad()
def find_errors(logits: Tensor, targets: Tensor, ignore_value: int, hard_confidence: float = 0.95) -> ErrorMap:
    """Find the errors of a semantic map (3.3).

    Args:
        logits: (N, K, H, W), any float type; computed in float32.
        targets: (N, H, W) int64, classes or `ignore_value`.
        ignore_value: the label of pixels without a class.
        hard_confidence: rho; an error whose predicted class has a higher probability is a hard one.
    """
    logits = logits.float()
    largest, labels = logits.max(dim=1)
    # The largest probability, without the other K - 1.
    confidence = (largest - logits.logsumexp(dim=1)).exp()
    valid = targets != ignore_value
    errors = valid & (labels != targets)
    return ErrorMap(errors, errors & (confidence > hard_confidence), valid)


def weigh_correct_pixels(error_map: ErrorMap) -> Tensor:
    """Return (N,), the weights w3 of a correct pixel in equation 2: the errors per correct pixel of each image."""
    errors, _, valid = error_map
    return errors.sum((1, 2)) / (valid & ~errors).sum((1, 2)).clamp(min=1)


def error_loss(error_logits: Tensor, error_map: ErrorMap, hard_weight: float = 1.5) -> Tensor:
    """Return the balanced binary cross-entropy of equation 2, over the valid pixels of the global batch.

    An easy error weighs 1, a hard one `hard_weight`, a correct pixel w3 (`weigh_correct_pixels`), so that the easy
    errors and the correct pixels of an image have the same total weight. An image without errors weighs nothing.

    Args:
        error_logits: (N, H, W) or (N, 1, H, W), any float type; computed in float32.
        error_map: of the same images.
        hard_weight: w2.

    Returns:
        A scalar; 0 with a zero gradient if there is no error. Pixels that are not valid have a zero gradient,
        whatever their logits.
    """
    errors, hard, valid = error_map
    balance = weigh_correct_pixels(error_map)[:, None, None]
    weights = torch.where(errors, torch.where(hard, hard_weight, 1.0), balance) * valid
    logits = error_logits.float().reshape(errors.shape).masked_fill(~valid, 0)
    total = F.binary_cross_entropy_with_logits(logits, errors.float(), weights, reduction="sum")
    return global_mean(total, valid.sum())


def masked_loss(
    logits: Tensor, targets: Tensor, mask: Tensor, ignore_value: int, pixel_loss: PixelLoss = mean_cross_entropy
) -> Tensor:
    """Return the loss of the valid pixels in a mask, over the global batch; with cross-entropy this is equation 3.

    Args:
        logits: (N, K, H, W), any float type; computed in float32.
        targets: (N, H, W) int64, classes or `ignore_value`.
        mask: (N, H, W) bool.
        ignore_value: the label of pixels without a class.
        pixel_loss: compares the logits of these pixels with their targets.

    Returns:
        A scalar; 0 with a zero gradient if there is no such pixel. All other pixels have a zero gradient, whatever
        their logits.
    """
    chosen = mask & (targets != ignore_value)
    if logits.device.type == "cpu" and pixel_loss is mean_cross_entropy:
        # The mask has few pixels as a rule, and the softmax of the others is not needed.
        pixels = logits.movedim(1, -1)[chosen].float()
        return pixel_loss(pixels.T[None, :, :, None], targets[chosen][None, :, None], ignore_value)
    # On GPUs faster than to wait for the number of pixels. Other losses may depend on the number of all pixels.
    finite = logits.float().masked_fill(~chosen[:, None], 0)
    return pixel_loss(finite, torch.where(chosen, targets, ignore_value), ignore_value)


@torch.no_grad()
def mask_hardest_pixels(logits: Tensor, targets: Tensor, ignore_value: int, share: float = 0.2) -> Tensor:
    """Return the mask of the pixels with the highest cross-entropy (hard mining, 5.3.2); of equal ones, the first.

    Args:
        logits: (N, K, H, W), any float type; computed in float32.
        targets: (N, H, W) int64, classes or `ignore_value`.
        ignore_value: the label of pixels without a class.
        share: of the valid pixels of this process's batch, 0 to 1; at least one is in the mask.

    Returns:
        (N, H, W) bool.
    """
    losses = F.cross_entropy(logits.float(), targets, ignore_index=ignore_value, reduction="none")
    valid = targets != ignore_value
    order = losses.masked_fill(~valid, -torch.inf).flatten().argsort(descending=True, stable=True)
    # The number stays a tensor: a GPU would have to be waited for.
    number = (share * valid.sum().double()).round().clamp(min=1)
    chosen = torch.zeros_like(valid).flatten()
    chosen.scatter_(0, order, torch.arange(len(order), device=order.device) < number)
    return chosen.view(valid.shape) & valid


def correct(base_logits: Tensor, detail_logits: Tensor, mask: Tensor) -> Tensor:
    """Join both predictions by equation 5, P = E * P_detail + (1 - E) * P_base.

    Since E is 0 or 1, this selects the logits, which are the logarithms of the probabilities up to a constant for
    each cell. The constant changes neither softmax nor argmax, nor those of a bilinear resize.

    Args:
        base_logits, detail_logits: (N, K, h, w).
        mask: E, (N, h, w) or (N, 1, h, w) bool.

    Returns:
        (N, K, h, w) logits.
    """
    return torch.where(mask.reshape(len(mask), 1, *mask.shape[-2:]), detail_logits, base_logits)
