import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from unified_seg.heads.confusion_groups.matrix import compute_rates
from unified_seg.heads.confusion_groups.proposal import ClassGroup, propose_groups

CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
# Percent of the pixels of a class that are predicted as others, after Figure 2 of the paper.
STREET: dict[str, dict[str, int]] = {
    # Small or thin objects and surfaces are confused with the building behind them.
    "wall": {"building": 18, "fence": 4, "vegetation": 2},
    "fence": {"building": 14, "wall": 4, "vegetation": 2},
    "pole": {"building": 13, "vegetation": 3, "fence": 1},
    "traffic light": {"building": 8, "pole": 3, "vegetation": 3},
    "traffic sign": {"building": 8, "pole": 1, "vegetation": 2},
    "building": {"vegetation": 2, "wall": 1, "pole": 1},
    # Large vehicles with each other, and their lower half with a car.
    "truck": {"bus": 6, "car": 4, "building": 3},
    "bus": {"train": 2, "car": 2, "truck": 2, "building": 2},
    "train": {"bus": 5, "truck": 2, "building": 3},
    "car": {"truck": 1, "road": 1},
    # Riders with persons and with bicycles.
    "rider": {"person": 10, "bicycle": 8},
    "motorcycle": {"bicycle": 5, "person": 2, "rider": 2, "car": 2},
    "bicycle": {"person": 2, "rider": 2, "building": 2},
    "person": {"rider": 1, "bicycle": 1, "building": 3},
    # Ground classes, less often.
    "sidewalk": {"road": 4},
    "terrain": {"vegetation": 5, "sidewalk": 4},
    "road": {"sidewalk": 1},
    "vegetation": {"building": 2},
}
SIGNS = ("building", "wall", "fence", "pole", "traffic light", "traffic sign")
RIDERS = ("person", "rider", "motorcycle", "bicycle")
VEHICLES = ("car", "truck", "bus", "train")
GROUND = ("road", "sidewalk", "vegetation", "terrain")
NO_BOUNDS = {"max_size": 99, "max_groups": 99, "min_rate": 1e-9}


def matrix_of(confused: dict[str, dict[str, int]]) -> np.ndarray:
    """Return (19, 19) percent; the rest of each class is right."""
    matrix = np.zeros((19, 19))
    for true, others in confused.items():
        for predicted, percent in others.items():
            matrix[CITYSCAPES.index(true), CITYSCAPES.index(predicted)] = percent
    np.fill_diagonal(matrix, 100 - matrix.sum(axis=1))
    return matrix


def named(groups: list[ClassGroup]) -> list[tuple[str, ...]]:
    return [tuple(CITYSCAPES[label] for label in group.classes) for group in groups]


def test_street_has_the_groups_of_the_paper() -> None:
    """Table 1; only the shares of pixels matter, not their numbers."""
    pixels = np.array(
        [10_000, 1_500, 6_000, 200, 250, 320, 60, 160, 4_500, 330, 1_100, 350, 40, 1_900, 80, 65, 65, 30, 120]
    )
    for matrix in (matrix_of(STREET), matrix_of(STREET).astype(np.int64) * pixels[:, None]):
        groups = propose_groups(matrix, max_size=6, max_groups=3, min_rate=0.02)
        assert named(groups) == [SIGNS, RIDERS, VEHICLES]
        # To building 61, wall and fence for each other 8, and 1 + 1 + 3 + 1 + 1; 18, 9, 4 and 2; 10, 6, 7 and 1.
        assert [group.confusion for group in groups] == pytest.approx([0.76, 0.33, 0.24])


def test_more_confused_ground_becomes_a_group() -> None:
    """With the rates of Figure 2, although Table 1 has no such group."""
    stronger = {
        "sidewalk": {"road": 7},
        "terrain": {"vegetation": 13, "sidewalk": 8, "road": 2},
        "pole": {"building": 13, "vegetation": 7, "fence": 1},
    }
    matrix = matrix_of(STREET | stronger)
    groups = propose_groups(matrix, max_size=6, max_groups=4, min_rate=0.02)
    # Poles are as similar to vegetation as to traffic signs, but its group has four classes by then: 8 are too many.
    assert named(groups) == [SIGNS, RIDERS, GROUND, VEHICLES]
    assert groups[2].confusion == pytest.approx(0.31)
    assert propose_groups(matrix, max_size=6, max_groups=3, min_rate=0.02) == groups[:3]


def test_groups_match_hand_computed_similarities() -> None:
    # s_12 = (0.2 + 0) / 2 = 0.1, s_02 = (0.1 + 0.06) / 2 = 0.08, s_34 = 0.05, s_23 = 0.02; the rest is 0.
    matrix = np.array([
        [90, 0, 10, 0, 0],
        [0, 80, 20, 0, 0],
        [3, 0, 45, 2, 0],
        [0, 0, 0, 90, 10],
        [0, 0, 0, 0, 1],
    ])  # fmt: skip
    three, two = ClassGroup((0, 1, 2), pytest.approx(0.36)), ClassGroup((3, 4), pytest.approx(0.1))
    assert propose_groups(matrix, max_size=5, max_groups=9, min_rate=0.05) == [three, two]
    assert propose_groups(matrix, max_size=5, max_groups=1, min_rate=0.05) == [three]
    assert propose_groups(matrix, max_size=5, max_groups=9, min_rate=0.051) == [three]
    # 2-3 would join all five: there would be no others.
    assert propose_groups(matrix, max_size=5, max_groups=9, min_rate=0.001) == [three, two]
    assert propose_groups(matrix, max_size=2, max_groups=9, min_rate=0.09) == [ClassGroup((1, 2), pytest.approx(0.2))]
    assert propose_groups(matrix, max_size=5, max_groups=9, min_rate=0.2) == []


def test_two_classes_have_no_group() -> None:
    assert propose_groups(np.array([[1, 1], [1, 1]]), **NO_BOUNDS) == []


def test_equally_similar_pairs_are_ordered_by_ids() -> None:
    """Each pair of classes is confused at 1 or 2 %; with groups of two the first pair of a class decides."""
    rng = np.random.default_rng(0)
    percent = np.triu(rng.integers(1, 3, (20, 20)), 1)
    percent += percent.T
    expected: list[tuple[int, int]] = []
    for pair in sorted(zip(*np.triu_indices(20, 1)), key=lambda pair: (-percent[pair], pair)):
        if not {label for other in expected for label in other} & set(pair):
            expected.append(pair)
    matrix = percent + np.diag(100 - percent.sum(axis=1))
    groups = propose_groups(matrix, max_size=2, max_groups=99, min_rate=0.001)
    assert {group.classes for group in groups} == set(expected)


def test_single_linkage_keeps_a_hub_with_its_classes() -> None:
    """Classes 1, 2 and 3 are predicted as 0, at 18, 14 and 12 %, and never as each other; 4 is always right.

    s_01 = 0.09, s_02 = 0.07, s_03 = 0.06. On average {0, 1} is as near to 2 as (0.07 + 0) / 2 = 0.035, and to 3 as
    0.03: below 0.05, which each of them is above with class 0.
    """
    matrix = np.eye(5) * 100
    matrix[1:4, 0] = 18, 14, 12
    matrix[np.arange(1, 4), np.arange(1, 4)] -= matrix[1:4, 0]
    groups = propose_groups(matrix, max_size=4, max_groups=9, min_rate=0.05)
    assert [group.classes for group in groups] == [(0, 1, 2, 3)]
    assert len(set(cluster(matrix, "average", 0.05)[:4])) == 3


def cluster(matrix: np.ndarray, method: str, min_rate: float) -> np.ndarray:
    """Return (K,) SciPy's cluster of each class."""
    rates = compute_rates(matrix)
    distances = 1 - (rates + rates.T) / 2
    np.fill_diagonal(distances, 0)
    return fcluster(linkage(squareform(distances), method), 1 - min_rate, "distance")


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    """(K, K) pixels, K from 3 to 9, sparse, with different similarities and a few classes without pixels."""
    size = draw(st.integers(3, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matrix = np.where(rng.random((size, size)) < 0.3, rng.integers(1, 10**9, (size, size)), 0)
    matrix += np.eye(size, dtype=np.int64) * rng.integers(10**9, 10**10, size)
    matrix[rng.random(size) < 0.1] = 0
    return matrix


def joined_step_by_step(rates: np.ndarray, max_size: int, min_rate: float) -> set[tuple[int, ...]]:
    """Single linkage, step by step: join the two nearest groups that may be joined, until there are none."""
    groups = [{label} for label in range(len(rates))]
    while True:
        nearest = [
            (max((rates[i, j] + rates[j, i]) / 2 for i in a for j in b), n, m)
            for n, a in enumerate(groups)
            for m, b in enumerate(groups[:n])
            if len(a) + len(b) <= max_size and len(a) + len(b) < len(rates)
        ]
        if not nearest or max(nearest)[0] < min_rate:
            return {tuple(sorted(group)) for group in groups if len(group) > 1}
        _, n, m = max(nearest)
        groups[m] |= groups.pop(n)


@settings(max_examples=80, deadline=None)
@given(matrices(), st.integers(2, 9), st.integers(1, 4), st.floats(0.0001, 0.2))
def test_groups_equal_a_plain_reference(matrix: np.ndarray, max_size: int, max_groups: int, min_rate: float) -> None:
    rates = np.nan_to_num(compute_rates(matrix))
    expected = joined_step_by_step(rates, max_size, min_rate)
    everything = propose_groups(matrix, max_size=max_size, max_groups=99, min_rate=min_rate)
    assert {group.classes for group in everything} == expected
    for group in everything:
        within = sum(rates[i, j] for i in group.classes for j in group.classes if i != j)
        assert group.confusion == pytest.approx(within)
        assert 2 <= len(group.classes) <= min(max_size, len(matrix) - 1)
    labels = [label for group in everything for label in group.classes]
    assert len(labels) == len(set(labels))
    confusions = [group.confusion for group in everything]
    assert confusions == sorted(confusions, reverse=True)
    few = propose_groups(matrix, max_size=max_size, max_groups=max_groups, min_rate=min_rate)
    assert few == everything[:max_groups]


@settings(max_examples=40, deadline=None)
@given(matrices(), st.floats(0.0001, 0.2))
def test_groups_equal_scipy_clusters_without_bounds(matrix: np.ndarray, min_rate: float) -> None:
    matrix = matrix + np.diag(matrix.sum(axis=1) == 0)  # SciPy has no notion of absent classes
    # One more class, always right, so that the others may all be in one group.
    matrix = np.pad(matrix, (0, 1))
    matrix[-1, -1] = 1
    cluster_of = cluster(matrix, "single", min_rate)
    expected = {tuple(np.flatnonzero(cluster_of == cluster)) for cluster in set(cluster_of)}
    groups = propose_groups(matrix, max_size=99, max_groups=99, min_rate=min_rate)
    assert {group.classes for group in groups} == {classes for classes in expected if len(classes) > 1}


@settings(max_examples=40, deadline=None)
@given(matrices(), st.integers(2, 5), st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_ids(matrix: np.ndarray, max_size: int, random) -> None:
    order = list(range(len(matrix)))
    random.shuffle(order)
    bounds = {"max_size": max_size, "max_groups": 99, "min_rate": 0.001}
    moved = propose_groups(matrix[np.ix_(order, order)], **bounds)
    back = {tuple(sorted(order[label] for label in group.classes)) for group in moved}
    assert back == {group.classes for group in propose_groups(matrix, **bounds)}


@pytest.mark.parametrize("row", [0, np.nan])
def test_absent_classes_can_be_in_a_group(row: float) -> None:
    """No pixel of it is confused; those of others are: s_01 = (0.3 + 0) / 2."""
    matrix = np.array([[70, 30, 0], [row, row, row], [0, 0, 10]])
    assert propose_groups(matrix, max_size=2, max_groups=1, min_rate=0.15) == [ClassGroup((0, 1), 0.3)]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"max_size": 1}, "max_size must be at least 2, got 1"),
        ({"max_groups": 0}, "max_groups must be at least 1, got 0"),
        ({"min_rate": 0.0}, r"min_rate must be in \(0, 1\], got 0.0"),
        ({"min_rate": 1.01}, r"min_rate must be in \(0, 1\], got 1.01"),
        ({"min_rate": np.nan}, r"min_rate must be in \(0, 1\], got nan"),
    ],
)
def test_bounds_out_of_range_are_refused(bounds: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        propose_groups(np.eye(3), **(NO_BOUNDS | bounds))
