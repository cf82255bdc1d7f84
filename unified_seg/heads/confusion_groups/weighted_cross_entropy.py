"""The improved cross-entropy: a pixel's loss also grows with the probability of classes that are confused with its own.

Source: A Network Structure to Explicitly Reduce Confusion Errors, 3.2. N = images, K = classes, (H, W) = the targets.
"""

import torch
from torch import Tensor

from unified_seg.ops.losses import global_mean


def confusion_weighted_loss(
    logits: Tensor, targets: Tensor, weights: Tensor, ignore_value: int, wrong_weight: float = 5.0
) -> Tensor:
    """Equation 3 with the sign that its gradient (4) has, averaged over the valid pixels of the global batch.

    For a pixel of class i, with the softmax q of its logits:

        L = - c_ii log q_i - lambda * sum over j != i of c_ij log(1 - q_j)

    (As printed, the second term has the other sign, and would reward confusion.)

    Args:
        logits: (N, K, H, W); computed in float32, or in float64 if that is what they are.
        targets: (N, H, W) int64, classes or `ignore_value`.
        weights: C, (K, K), the confusion matrix with rows (the ground truth) that sum to 1; see `normalize_rows`.
        ignore_value: the label of pixels without a class.
        wrong_weight: lambda, 0 or more.

    Returns:
        A scalar, finite also where q is rounded to 0 or 1; 0 with a zero gradient where every pixel is ignored.

    Raises:
        IndexError, RuntimeError: a label that is no class; on a GPU its assertion.
    """
    valid = targets != ignore_value
    # Pixels by classes; ignored ones are left out, whatever is said of them.
    logits, classes = logits.movedim(1, -1)[valid], targets[valid]
    if logits.dtype != torch.float64:
        logits = logits.float()
    weights = weights.to(logits)
    of_wrong = wrong_weight * (weights - weights.diag().diag())
    log_q = logits.log_softmax(1)
    right = weights.diag()[classes] * log_q.gather(1, classes[:, None])[:, 0]
    wrong = (of_wrong[classes] * _log_complement(log_q)).sum(1)
    return global_mean(-(right + wrong).sum(), valid.sum())


def _log_complement(log_q: Tensor) -> Tensor:
    """log(1 - q) of log-probabilities (P, K), also where 1 - q is rounded to 0."""
    top = log_q.argmax(1, keepdim=True)
    # At most one class has more than a half, and for that one 1 - q is the sum of the others.
    others = log_q.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
    return torch.log1p(-log_q.exp().scatter(1, top, 0)).scatter(1, top, others)


def normalize_rows(confusion: Tensor) -> Tensor:
    """The weights C of a confusion matrix: each row by its sum.

    A class that was never seen, whose row is zero or NaN, has nothing to be weighted by: its loss is plain
    cross-entropy (a row of the identity).

    Args:
        confusion: (K, K), rows the ground truth, columns the prediction; pixels, or shares of them.

    Returns:
        (K, K) float64.

    Raises:
        ValueError: it is not square or of one class, or holds negative or infinite entries, a row that is NaN in part
            or whose sum is beyond float64, or no pixel at all.
    """
    confusion = confusion.double()
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or len(confusion) < 2:
        raise ValueError(
            f"a confusion matrix is square, of two classes or more; this one has the shape {tuple(confusion.shape)}"
        )
    unknown = confusion.isnan()
    partly = unknown.any(1) & ~unknown.all(1)
    if partly.any():
        row = int(partly.nonzero()[0])
        raise ValueError(f"row {row} of a confusion matrix is NaN as a whole (never seen) or not at all, not in part")
    wrong = (confusion < 0) | confusion.isinf()
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"the entries of a confusion matrix are finite, 0 or more; row {row}, column {column} holds "
            f"{confusion[row, column]:g}"
        )
    total = confusion.nansum(1, keepdim=True)
    if total.isinf().any():
        raise ValueError(f"row {int(total.isinf().nonzero()[0, 0])} of a confusion matrix has an infinite sum")
    if not total.any():
        raise ValueError("a confusion matrix holds no pixel: no class was ever seen")
    identity = torch.eye(len(confusion), dtype=confusion.dtype, device=confusion.device)
    return torch.where(total > 0, confusion / total, identity)
