"""Pixel losses, averaged over the valid pixels of all processes."""

import torch
from torch import Tensor, distributed
from torch.nn import functional as F


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


def global_mean(total: Tensor, count: Tensor) -> Tensor:
    """Compute this process's share of a mean over all processes.

    DistributedDataParallel averages gradients over W processes. With total_i / (sum of counts / W) in each process
    that average is (sum of totals) / (sum of counts), which one process would compute on the whole batch.

    Args:
        total: scalar, the sum over this process's items.
        count: scalar, the number of this process's items.
    """
    count = count.to(total.dtype)
    processes = 1
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(count)
        processes = distributed.get_world_size()
    # Without any item the total is 0, and stays 0.
    return total * processes / count.clamp(min=1)
