"""Classifiers of groups of classes: their targets, and how their predictions are joined.

Source: Geng et al., A Network Structure to Explicitly Reduce Confusion Errors in Semantic Segmentation (2018),
section 3.3. N = images, K = classes, (h, w) = a map. The classifier of a group of G classes has G + 1 channels:
"others" is the first, then the group's classes in their order.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from unified_seg.ops.devices import upload

RULES = ("sum", "product")
OTHERS = ("abstain", "copy")


def assign_channels(group: Sequence[int], num_classes: int) -> Tensor:
    """Return (K,) int64: the channel of each class in the classifier of a group; 0, "others", outside the group.

    Args:
        group: class ids, each once.
        num_classes: K.

    Raises:
        ValueError: the group is empty or holds all classes (so that there are no "others"); an id is repeated or out
            of range.
    """
    if not group:
        raise ValueError("expected at least one class")
    if len(set(group)) < len(group):
        raise ValueError(f"a class is repeated: {list(group)}")
    if outside := [label for label in group if not 0 <= label < num_classes]:
        raise ValueError(f"class ids must be in 0 .. {num_classes - 1}, got {outside}")
    if len(group) == num_classes:
        raise ValueError("expected fewer classes than all, so that there are others")
    # On the CPU, also under `torch.device("meta")`: the values are needed.
    channels = torch.zeros(num_classes, dtype=torch.int64, device="cpu")
    channels[list(group)] = torch.arange(1, len(group) + 1, device="cpu")
    return channels


def map_targets(targets: Tensor, channels: Tensor, ignore_value: int) -> Tensor:
    """Return the targets of a group's classifier.

    Args:
        targets: any shape, int64: 0 .. K-1 or `ignore_value`.
        channels: of the group.
        ignore_value: is kept.

    Raises:
        RuntimeError: a label that is not a class; on a GPU its assertion.
    """
    ignored = targets == ignore_value
    # Unlike an index, gather does not count a negative label from the end.
    mapped = channels.gather(0, targets.masked_fill(ignored, 0).flatten()).view_as(targets)
    return mapped.masked_fill(ignored, ignore_value)


def to_all_classes(logits: Tensor, channels: Tensor) -> Tensor:
    """Map the prediction of a group's classifier to all classes, as in the paper (Figure 3).

    Each class of the group keeps its probability, each other class gets a copy of that of "others", and the sum is
    normalized to 1. So any two classes compare as their channels do (the similarity-preserving principle).

    The copying has a limit: "others" is the probability of all the other classes together, and each of them gets the
    whole of it. So a group's classifier that agrees with the base head can still turn the joint prediction away from
    the group: 0.4 (in the group), 0.3 and 0.3 become 0.4, 0.6 and 0.6. `join_members` has no such limit.

    Args:
        logits: (N, G + 1, h, w), any float type; computed in float32.
        channels: of the group.

    Returns:
        (N, K, h, w) float32, logarithms of probabilities.
    """
    # A softmax over the channels would add a constant to each cell, which the one over the classes removes again.
    return logits.float()[:, channels].log_softmax(1)


def join(log_probabilities: Iterable[Tensor], rule: str) -> Tensor:
    """Join the predictions of several classifiers of all classes.

    "sum" is the mean of the probabilities, "product" their product normalized to a sum of 1 (Kittler's rules). A class
    in several groups counts once in each.

    The mean is meant for probabilities at every pixel. Between coarser cells its logarithm is interpolated, and no
    classifier can lower that far below the others, however certain it is: borders between cells become less exact
    than by the logits of one classifier. The product has no such limit.

    Args:
        log_probabilities: (N, K, h, w) of each, at least one; softmax sums to 1 over the classes.
        rule: one of RULES.

    Returns:
        (N, K, h, w), logarithms of probabilities.

    Raises:
        ValueError: an unknown rule.
    """
    _check_rule(rule)
    predictions = iter(log_probabilities)
    total = next(predictions)
    for more in predictions:
        total = torch.logaddexp(total, more) if rule == "sum" else total + more
    return total.log_softmax(1)


def join_members(base: Tensor, predictions: Iterable[tuple[Tensor, Sequence[int]]], rule: str) -> Tensor:
    """Join the prediction of a classifier of all classes with those of groups, each for the group's classes alone.

    The probability of a class is the mean ("sum") or the geometric mean ("product", which is as good between coarser
    cells; see `join`) of the probabilities by all classifiers that have the class; then the sum is normalized to 1.
    The probability of "others" counts only by what it leaves to the group's classes. A group's classifier that agrees
    with `base` changes nothing, whatever other groups there are.

    Args:
        base: (N, K, h, w), logarithms of probabilities.
        predictions: of each group the logits (N, G + 1, h, w), any float type, and its classes in the channels' order.
        rule: one of RULES.

    Returns:
        (N, K, h, w) in the type of `base`, logarithms of probabilities.

    Raises:
        ValueError: an unknown rule.
    """
    _check_rule(rule)
    total, num_experts = base.clone(), torch.ones(base.shape[1], device="cpu")
    for logits, group in predictions:
        classes = upload(list(group), base.device)
        members = logits.to(base.dtype).log_softmax(1)[:, 1:]
        joint = torch.logaddexp(total[:, classes], members) if rule == "sum" else total[:, classes] + members
        total.index_copy_(1, classes, joint)  # an assignment would be exported for a single size
        num_experts[list(group)] += 1  # torch reads a tuple as one index for each dimension
    num_experts = upload(num_experts.to(base.dtype), base.device).view(1, -1, 1, 1)
    return (total - num_experts.log() if rule == "sum" else total / num_experts).log_softmax(1)


def _check_rule(rule: str) -> None:
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")


def merge_confusion(confusion: Tensor, channels: Tensor) -> Tensor:
    """Return the confusion matrix of a group's classifier, (G + 1, G + 1), from that of all classes.

    Args:
        confusion: (K, K) pixels, rows the ground truth; a row of NaN, a class that is not in the ground truth, counts
            as no pixel. With shares in place of pixels, rare classes among the others count as much as common ones.
        channels: of the group.
    """
    members = nn.functional.one_hot(channels).T.to(confusion)
    return members @ confusion.nan_to_num(0) @ members.T
