"""Proposals of groups of classes that are often confused, from a confusion matrix.

Source: Geng et al., A Network Structure to Explicitly Reduce Confusion Errors in Semantic Segmentation (2018),
section 3.1, where groups are found by looking at the matrix. K = classes.
"""

from dataclasses import dataclass

import numpy as np

from unified_seg.heads.confusion_groups.matrix import compute_rates


@dataclass(frozen=True)
class ClassGroup:
    """A group of classes.

    Attributes:
        classes: ids, ascending, two or more.
        confusion: the sum of the rates r_ij, i != j, of its classes: by how much the sum of their accuracies would
            rise without confusion inside the group.
    """

    classes: tuple[int, ...]
    confusion: float


def propose_groups(confusion: np.ndarray, *, max_size: int, max_groups: int, min_rate: float) -> list[ClassGroup]:
    """Propose groups of the classes that are most often confused.

    The similarity of two classes is s_ij = (r_ij + r_ji) / 2 with r of `compute_rates`. From the most similar pair on,
    ties by their ids, the groups of the two classes are joined if the bounds allow it: agglomerative clustering with
    single linkage. Single, because confusion has hubs: in a street many classes are predicted as building that are
    hardly ever confused with each other, such as walls and traffic lights. Average linkage would separate the hub
    from them.

    Args:
        confusion: (K, K) pixels, or shares of them; rows are the ground truth, columns the prediction.
        max_size: the most classes of a group, at least 2. No group holds all K.
        max_groups: the most groups, at least 1: the most confused ones are returned.
        min_rate: pairs with a smaller s join nothing; in (0, 1].

    Returns:
        Disjoint groups, the most confused one first; empty if no pair is similar enough.

    Raises:
        ValueError: a bound out of range, or see `normalize_rows`.
    """
    check_bounds(max_size, max_groups, min_rate)
    rates = np.nan_to_num(compute_rates(confusion))
    np.fill_diagonal(rates, 0)
    similarity = (rates + rates.T) / 2
    group_of = [frozenset([label]) for label in range(len(rates))]
    first, second = np.triu_indices(len(rates), k=1)
    for pair in np.argsort(-similarity[first, second], kind="stable"):
        i, j = first[pair], second[pair]
        if similarity[i, j] < min_rate:
            break
        joined = group_of[i] | group_of[j]
        if len(joined) <= min(max_size, len(rates) - 1):
            for label in joined:
                group_of[label] = joined
    found = (tuple(sorted(group)) for group in set(group_of) if len(group) > 1)
    groups = [ClassGroup(classes, float(rates[np.ix_(classes, classes)].sum())) for classes in found]
    return sorted(groups, key=lambda group: (-group.confusion, group.classes))[:max_groups]


def check_bounds(max_size: int, max_groups: int, min_rate: float) -> None:
    """Raise ValueError if one of the bounds of `propose_groups` is out of range."""
    if max_size < 2:
        raise ValueError(f"max_size must be at least 2, got {max_size}")
    if max_groups < 1:
        raise ValueError(f"max_groups must be at least 1, got {max_groups}")
    if not 0 < min_rate <= 1:
        raise ValueError(f"min_rate must be in (0, 1], got {min_rate}")
