"""Groups of classes that are mistaken for each other, proposed from a confusion matrix.

Source: A Network Structure to Explicitly Reduce Confusion Errors, 3.1, where groups are found by looking at the matrix.
K = classes. In a confusion matrix rows are the ground truth and columns the prediction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unified_seg.heads.confusion_groups.weighted_cross_entropy import normalize_rows


@dataclass(frozen=True)
class ClassGroup:
    """A group of classes.

    Attributes:
        classes: ids, ascending, two or more.
        confusion: the rates r_ij, i != j, of its classes summed: by how much the sum of their accuracies would rise if
            none of them were taken for another one of the group.
    """

    classes: tuple[int, ...]
    confusion: float


def propose_groups(confusion: np.ndarray, *, max_size: int, max_groups: int, min_rate: float) -> list[ClassGroup]:
    """The groups of classes that are most confused.

    Two classes are as similar as they are confused: s_ij = (r_ij + r_ji) / 2 with r of `confusion_rates`. Pairs are
    taken from the most similar one on, equal ones by their ids, and the groups of the two are joined where the bounds
    allow it: agglomerative clustering with single linkage. Single, because confusion has hubs: in a street much is
    taken for building that is hardly ever taken for each other, such as walls and traffic lights. Average linkage
    would tear the hub from its classes.

    Args:
        confusion: (K, K), pixels, or shares of them.
        max_size: classes of a group at most, 2 or more. No group holds all K.
        max_groups: how many at most, 1 or more: the most confused ones.
        min_rate: pairs with s below it join nothing; above 0, at most 1.

    Returns:
        Disjoint groups, the most confused one first; none where no pair is similar enough.

    Raises:
        ValueError: a bound out of range, or as `normalize_rows`.
    """
    check_bounds(max_size, max_groups, min_rate)
    rates = np.nan_to_num(confusion_rates(confusion))
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
    """Raises ValueError where one of the bounds of `propose_groups` is out of range."""
    if max_size < 2:
        raise ValueError(f"max_size {max_size}: a group holds two classes or more")
    if max_groups < 1:
        raise ValueError(f"max_groups {max_groups}: at least one group")
    if not 0 < min_rate <= 1:
        raise ValueError(f"min_rate {min_rate}: a share above 0, at most 1")


def confusion_rates(confusion: np.ndarray) -> np.ndarray:
    """The shares r_ij of the pixels of class i that were taken for class j.

    Args:
        confusion: (K, K), pixels, or shares of them; a class that was never seen has a row of zeros or of NaN.

    Returns:
        (K, K) float64, 0 to 1; the row of a class that was never seen is NaN.

    Raises:
        ValueError: as `normalize_rows`.
    """
    confusion = np.ascontiguousarray(confusion, dtype=np.float64)
    rates = normalize_rows(torch.from_numpy(confusion)).numpy()
    rates[np.nansum(confusion, axis=1) == 0] = np.nan
    return rates


def group_order(groups: Sequence[Iterable[int]], num_classes: int) -> list[int]:
    """The classes in the order in which a matrix is drawn.

    Args:
        groups: ids of the classes of each; a class in several stands in the first of them.
        num_classes: K.

    Returns:
        All K ids: group after group, then those of no group in their own order.
    """
    grouped = [label for group in groups for label in group]
    return list(dict.fromkeys([*grouped, *range(num_classes)]))
