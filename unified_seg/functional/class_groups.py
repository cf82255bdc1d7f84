"""Groups of classes: what a classifier of one group says of all classes, and several classifiers joined.

Source: A Network Structure to Explicitly Reduce Confusion Errors, 3.3. N = images, K = classes, (h, w) = a map. A
classifier of a group of G classes has G + 1 channels: "others" is the first, then the group's classes in their order.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

RULES = ("sum", "product")
OTHERS = ("copied", "shared")


def channels_of(group: Sequence[int], num_classes: int) -> Tensor:
    """(K,) int64: the channel that each class has in the classifier of a group; 0, "others", outside the group.

    Args:
        group: class ids, each once.
        num_classes: K.

    Raises:
        ValueError: an empty group, one of all classes (nothing would be "others"), ids out of range or twice.
    """
    if not group:
        raise ValueError("a group is empty")
    if len(set(group)) < len(group):
        raise ValueError(f"a class is twice in a group: {list(group)}")
    if outside := [label for label in group if not 0 <= label < num_classes]:
        raise ValueError(f"the ids {outside} of a group are no classes, which are 0 .. {num_classes - 1}")
    if len(group) == num_classes:
        raise ValueError("a group holds every class, so nothing is left to be its others")
    # In memory, also while a model is built on the meta device: they are numbers to work with.
    channels = torch.zeros(num_classes, dtype=torch.int64, device="cpu")
    channels[list(group)] = torch.arange(1, len(group) + 1, device="cpu")
    return channels


def group_targets(targets: Tensor, channels: Tensor, ignore_value: int) -> Tensor:
    """What the classifier of a group should say.

    Args:
        targets: any shape, int64: 0 .. K-1 or `ignore_value`.
        channels: of the group.
        ignore_value: stays as it is.
    """
    ignored = targets == ignore_value
    # Unlike an index, gather takes no negative label for one from the end.
    wanted = channels.gather(0, targets.masked_fill(ignored, 0).flatten()).view_as(targets)
    return wanted.masked_fill(ignored, ignore_value)


def to_all_classes(logits: Tensor, channels: Tensor, shares: Tensor | None = None) -> Tensor:
    """From the classifier of a group to all classes (Figure 3).

    The paper copies: the probability of a class in the group stays, each other class gets that of "others", and the sum
    is brought back to 1. So any two classes compare as their channels do: the similarity-preserving principle. But
    "others" holds the probability of all the other classes together, and each of them gets the whole of it: a
    classifier of a group that only repeats what is known turns the joint answer away from the group. Of 0.4 (in the
    group), 0.3 and 0.3 it makes 0.4, 0.6 and 0.6.

    With `shares` the probability of "others" is divided as it is there. What repeats what is known then changes
    nothing, and the order of the group's classes and "others" as a whole stays too.

    Args:
        logits: (N, G + 1, h, w), any float type; computed in float32.
        channels: of the group.
        shares: (N, K, h, w) logarithms of probabilities, of all classes; None: "others" is copied.

    Returns:
        (N, K, h, w) float32, logarithms of probabilities.
    """
    logits = logits.float()
    if shares is None:
        # The softmax over the channels would add a constant of each cell, which the one over the classes takes away.
        return logits[:, channels].log_softmax(1)
    # The channels are in memory where a model is only outlined, on the meta device.
    inside = (channels > 0).view(1, -1, 1, 1).to(logits.device)
    divided = shares.float().masked_fill(inside, -math.inf).log_softmax(1)
    return logits.log_softmax(1)[:, channels] + divided.masked_fill(inside, 0)


def join(log_probabilities: Iterable[Tensor], rule: str) -> Tensor:
    """What several classifiers say together.

    "sum" is the mean of the probabilities, "product" their product, brought back to a sum of 1 (Kittler's rules). A
    class in several groups counts once in each.

    The mean wants probabilities pixel by pixel, where others are copied. Between coarser cells its logarithm is
    interpolated, which no sure classifier among several can bring far below the others': unlike the logits of one it
    says little of where between two cells a border lies. The product has no such limit, nor has the mean of answers
    that divide the others alike.

    Args:
        log_probabilities: (N, K, h, w) of each, at least one; softmax sums to 1 over the classes.
        rule: a name of RULES.

    Returns:
        (N, K, h, w), logarithms of probabilities.
    """
    if rule not in RULES:
        raise ValueError(f"the rule {rule!r} is not one of {', '.join(RULES)}")
    others = iter(log_probabilities)
    total = next(others)
    for more in others:
        total = torch.logaddexp(total, more) if rule == "sum" else total + more
    return total.log_softmax(1)


def group_confusion(confusion: Tensor, channels: Tensor) -> Tensor:
    """The confusion matrix of a group's classifier, (G + 1, G + 1), from that of all classes.

    Args:
        confusion: (K, K) pixels, rows the truth; a row of NaN, a class never seen, counts as no pixel. With shares in
            place of pixels the rare classes among the others count as much as the common ones.
        channels: of the group.
    """
    members = nn.functional.one_hot(channels).T.to(confusion)
    return members @ confusion.nan_to_num(0) @ members.T
