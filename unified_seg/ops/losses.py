"""Pixel losses, averaged over the valid pixels of all processes."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

# See `part_of_batch`.
_part_weight: ContextVar[Tensor | float] = ContextVar("part_weight", default=1.0)


def mean_cross_entropy(logits: Tensor, targets: Tensor, ignore_value: int) -> Tensor:
    """Compute the cross-entropy, averaged over all valid pixels of the global batch.

    The usual average within each process would give pixels of sparsely labeled images a weight that grows with the
    number of processes; see `global_mean`.

    Args:
        logits: (N, K, H, W), any float type; the loss is computed in float32.
        targets: (N, H, W) int64, classes or `ignore_value`.
        ignore_value: the label of pixels without a class.

    Returns:
        A scalar; 0 with a zero gradient if every pixel is ignored.
    """
    total = F.cross_entropy(logits.float(), targets, ignore_index=ignore_value, reduction="sum")
    return global_mean(total, (targets != ignore_value).sum())


def weighted_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    ignore_value: int,
    *,
    class_weights: Tensor | None = None,
    focus: float = 0.0,
    hard_share: float = 1.0,
) -> Tensor:
    """Compute a cross-entropy that gives rare classes or difficult pixels more weight, averaged by these weights.

    For a pixel of class i, with the softmax q of its logits: w_i (1 - q_i) ** focus * -log q_i. The sum over the pixels
    is divided by the sum of their w_i, over the global batch. The focus is the focal loss of Lin et al., Focal Loss for
    Dense Object Detection (2017), eq. 5; mining hard pixels follows Wu et al., Bridging Category-level and
    Instance-level Semantic Image Segmentation (2016), as Detectron2's DeepLabCE has it.

    Args:
        logits: (N, K, H, W), any float type; the loss is computed in float32.
        targets: (N, H, W) int64, classes or `ignore_value`.
        ignore_value: the label of pixels without a class.
        class_weights: (K,) w, 0 or more; None: all 1.
        focus: gamma, 0 or more.
        hard_share: only this share of the pixels of this process, those with the largest loss, is counted; in (0, 1].

    Returns:
        A scalar; 0 with a zero gradient if every pixel is ignored.
    """
    each = F.cross_entropy(logits.float(), targets, ignore_index=ignore_value, reduction="none")
    valid = targets != ignore_value
    if focus:
        # A pixel that is certainly right has the gradient 0, also with a focus below 1.
        each = each * (-torch.expm1(-each)).clamp(min=torch.finfo(each.dtype).tiny) ** focus
    weights = valid.to(each.dtype)
    if class_weights is not None:
        weights = weights * class_weights.to(each)[targets.where(valid, 0)]
    weighted = each * weights
    if hard_share < 1:
        # A share of all pixels, not of the valid ones, whose number a GPU would have to be waited for.
        weighted, hardest = weighted.flatten().topk(math.ceil(hard_share * weighted.numel()), sorted=False)
        weights = weights.flatten()[hardest]
    return global_mean(weighted.sum(), weights.sum())


def dice_loss(logits: Tensor, targets: Tensor, ignore_value: int) -> Tensor:
    """Compute the soft Dice loss, averaged over the classes in the targets: 1 - 2 sum(p t) / (sum(p^2) + sum(t)).

    p is the softmax of the logits and t is 1 in the pixels of a class; the sums run over the valid pixels of this
    process's images. A class counts the same however many pixels it has. Source: Milletari et al., V-Net (2016),
    section 3, with one term for each class.

    Args:
        logits: (N, K, H, W), any float type; the loss is computed in float32.
        targets: (N, H, W) int64, classes or `ignore_value`.
        ignore_value: the label of pixels without a class.

    Returns:
        A scalar in [0, 1]; 0 with a zero gradient if every pixel is ignored.
    """
    probabilities = logits.float().softmax(dim=1)
    valid = targets != ignore_value
    classes = targets.where(valid, 0).flatten()
    right = (probabilities.gather(1, targets.where(valid, 0)[:, None])[:, 0] * valid).flatten()
    overlap = right.new_zeros(logits.shape[1]).scatter_add(0, classes, right)
    count = right.new_zeros(logits.shape[1]).scatter_add(0, classes, valid.flatten().to(right.dtype))
    squares = (probabilities.square() * valid[:, None]).sum(dim=(0, 2, 3))
    occurs = count > 0
    each = torch.where(occurs, 1 - 2 * overlap / (squares + count).clamp(min=torch.finfo(count.dtype).tiny), 0)
    return each.sum() / occurs.sum().clamp(min=1)


def mean_binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the binary cross-entropy, averaged over all valid cells of the global batch; see `mean_cross_entropy`.

    Args:
        logits: any shape and float type; the loss is computed in float32.
        targets: of the same shape, 1 or 0; other values are ignored.

    Returns:
        A scalar; 0 with a zero gradient if every cell is ignored.
    """
    valid = (targets == 0) | (targets == 1)
    each = F.binary_cross_entropy_with_logits(logits.float(), (targets == 1).float(), reduction="none")
    # Selected, not multiplied by 0: the logit of an ignored cell may be infinite.
    return global_mean(torch.where(valid, each, 0).sum(), valid.sum())


@contextmanager
def part_of_batch(weight: Tensor | float) -> Iterator[None]:
    """Let `global_mean` compute the share of a part of a batch in the mean over the whole batch.

    Args:
        weight: the part's share of the valid pixels of the batch, times the number of parts, over which the caller
            averages.
    """
    token = _part_weight.set(weight)
    try:
        yield
    finally:
        _part_weight.reset(token)


def global_mean(total: Tensor, count: Tensor) -> Tensor:
    """Compute this process's share of a mean over all processes.

    DistributedDataParallel averages gradients over W processes. With total_i / (sum of counts / W) in each process
    that average is (sum of totals) / (sum of counts), which one process would compute on the whole batch. A part of a
    batch counts by its share of the valid pixels, see `part_of_batch`.

    Args:
        total: scalar, the sum over this process's items.
        count: scalar, the number of this process's items, or the sum of their weights.
    """
    count = count.to(total.dtype)
    processes = 1
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(count)
        processes = distributed.get_world_size()
    # Without any item the total is 0, and stays 0.
    return total * processes * _part_weight.get() / count.clamp(min=torch.finfo(count.dtype).tiny)
