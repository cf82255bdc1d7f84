"""Groups of classes: what a classifier of one group says of all classes, and several classifiers joined.

Source: A Network Structure to Explicitly Reduce Confusion Errors, 3.3. N = images, K = classes, (h, w) = a map. A
classifier of a group of G classes has G + 1 channels: "others" is the first, then the group's classes in their order.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

RULES = ("sum", "product")
OTHERS = ("abstain", "copy")


def group_channels(group: Sequence[int], num_classes: int) -> Tensor:
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
    # On the CPU, also under `torch.device("meta")`: the values are needed.
    channels = torch.zeros(num_classes, dtype=torch.int64, device="cpu")
    channels[list(group)] = torch.arange(1, len(group) + 1, device="cpu")
    return channels


def group_targets(targets: Tensor, channels: Tensor, ignore_value: int) -> Tensor:
    """What the classifier of a group should say.

    Args:
        targets: any shape, int64: 0 .. K-1 or `ignore_value`.
        channels: of the group.
        ignore_value: stays as it is.

    Raises:
        RuntimeError: a label that is no class; on a GPU its assertion.
    """
    ignored = targets == ignore_value
    # Unlike an index, gather takes no negative label for one from the end.
    wanted = channels.gather(0, targets.masked_fill(ignored, 0).flatten()).view_as(targets)
    return wanted.masked_fill(ignored, ignore_value)


def to_all_classes(logits: Tensor, channels: Tensor) -> Tensor:
    """From the classifier of a group to all classes, as in the paper (Figure 3).

    The probability of a class in the group stays, each other class gets a copy of that of "others", and the sum is
    brought back to 1. So any two classes compare as their channels do: the similarity-preserving principle.

    A limit of the copying: "others" holds the probability of all the other classes together, and each of them gets the
    whole of it. So a classifier of a group that only repeats what is known can still turn the joint answer away from
    the group: of 0.4 (in the group), 0.3 and 0.3 it makes 0.4, 0.6 and 0.6. `join_members` has no such limit.

    Args:
        logits: (N, G + 1, h, w), any float type; computed in float32.
        channels: of the group.

    Returns:
        (N, K, h, w) float32, logarithms of probabilities.
    """
    # The softmax over the channels would only add a constant of each cell, which the one over the classes takes away.
    return logits.float()[:, channels].log_softmax(1)


def join(log_probabilities: Iterable[Tensor], rule: str) -> Tensor:
    """What several classifiers of all classes say together.

    "sum" is the mean of the probabilities, "product" their product, brought back to a sum of 1 (Kittler's rules). A
    class in several groups counts once in each.

    The mean wants probabilities pixel by pixel. Between coarser cells its logarithm is interpolated, which no sure
    classifier among several can bring far below the others': unlike the logits of one it says little of where between
    two cells a border lies. The product has no such limit.

    Args:
        log_probabilities: (N, K, h, w) of each, at least one; softmax sums to 1 over the classes.
        rule: a name of RULES.

    Returns:
        (N, K, h, w), logarithms of probabilities.

    Raises:
        ValueError: another rule.
    """
    _check_rule(rule)
    answers = iter(log_probabilities)
    total = next(answers)
    for more in answers:
        total = torch.logaddexp(total, more) if rule == "sum" else total + more
    return total.log_softmax(1)


def join_members(base: Tensor, answers: Iterable[tuple[Tensor, Sequence[int]]], rule: str) -> Tensor:
    """What a classifier of all classes says together with those of groups, each of which speaks of its classes alone.

    The probability of a class is the mean ("sum") or the geometric mean ("product", which is as good between coarser
    cells; see `join`) of what the classifiers that know it say, and all are brought back to a sum of 1. What a
    classifier gives to "others" counts by what it leaves to its classes. One that repeats what `base` says changes
    nothing, whatever other groups there are.

    Args:
        base: (N, K, h, w), logarithms of probabilities.
        answers: of each group the logits (N, G + 1, h, w), any float type, and its classes in the channels' order.
        rule: a name of RULES.

    Returns:
        (N, K, h, w) in the type of `base`, logarithms of probabilities.

    Raises:
        ValueError: another rule.
    """
    _check_rule(rule)
    total, voices = base.clone(), torch.ones(base.shape[1], device="cpu")
    for logits, group in answers:
        classes = list(group)  # torch takes a tuple for one index in each dimension
        said = logits.to(base.dtype).log_softmax(1)[:, 1:]
        total[:, classes] = torch.logaddexp(total[:, classes], said) if rule == "sum" else total[:, classes] + said
        voices[classes] += 1
    voices = voices.to(base).view(1, -1, 1, 1)
    return (total - voices.log() if rule == "sum" else total / voices).log_softmax(1)


def _check_rule(rule: str) -> None:
    if rule not in RULES:
        raise ValueError(f"the rule {rule!r} is not one of {', '.join(RULES)}")


def group_confusion(confusion: Tensor, channels: Tensor) -> Tensor:
    """The confusion matrix of a group's classifier, (G + 1, G + 1), from that of all classes.

    Args:
        confusion: (K, K) pixels, rows the ground truth; a row of NaN, a class never seen, counts as no pixel.
            With shares in place of pixels the rare classes among the others count as much as the common ones.
        channels: of the group.
    """
    members = nn.functional.one_hot(channels).T.to(confusion)
    return members @ confusion.nan_to_num(0) @ members.T
