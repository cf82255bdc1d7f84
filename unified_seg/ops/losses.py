"""Losses over pixels, averaged so that neither ignored pixels nor the number of processes change their scale."""

import torch
from torch import Tensor, distributed
from torch.nn import functional as F


def mean_cross_entropy(logits: Tensor, targets: Tensor, ignore_value: int) -> Tensor:
    """Cross-entropy averaged over all valid pixels of the global batch.

    Averaging within each process, as usual, would give pixels of sparsely labeled images more weight the more
    processes there are; see `global_mean`.

    Args:
        logits: (N, K, H, W), any float type; computed in float32.
        targets: (N, H, W) int64, classes or `ignore_value`.
        ignore_value: the label of pixels without a class.

    Returns:
        A scalar; 0 with a zero gradient where every pixel is ignored.
    """
    total = F.cross_entropy(logits.float(), targets, ignore_index=ignore_value, reduction="sum")
    return global_mean(total, (targets != ignore_value).sum())


def mean_binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy averaged over all valid cells of the global batch, as `mean_cross_entropy` is.

    Args:
        logits: any shape and float type; computed in float32.
        targets: of that shape: 1 and 0, anything else is ignored.

    Returns:
        A scalar; 0 with a zero gradient where every cell is ignored.
    """
    valid = (targets == 0) | (targets == 1)
    each = F.binary_cross_entropy_with_logits(logits.float(), (targets == 1).float(), reduction="none")
    # Chosen, not multiplied by 0: a logit may be infinite where nothing is asked of it.
    return global_mean(torch.where(valid, each, 0).sum(), valid.sum())


def global_mean(total: Tensor, count: Tensor) -> Tensor:
    """This process's share of a mean over all processes.

    DistributedDataParallel averages gradients over W processes. With total_i / (sum of counts / W), that average is
    (sum of totals) / (sum of counts): exactly what one process would compute on the whole batch.

    Args:
        total: scalar, the sum over this process's items.
        count: scalar, the number of this process's items.
    """
    count = count.to(total.dtype)
    processes = 1
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(count)
        processes = distributed.get_world_size()
    # The smallest count that is not none is one pixel; below it the total is 0 and stays 0.
    return total * processes / count.clamp(min=1)
