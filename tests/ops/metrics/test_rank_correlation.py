import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from unified_seg.ops.metrics.rank_correlation import compare_rankings, rank_correlation


def test_correlation_by_hand() -> None:
    # Ranks 1 2 3 4 and 2 1 4 3: differences of one everywhere, 1 - 6 * 4 / (4 * 15) = 0.6.
    assert rank_correlation(np.array([10, 20, 30, 40]), np.array([0.2, 0.1, 0.9, 0.8])) == pytest.approx(0.6)
    # Ranks 1.5 1.5 3 and 1 2 3: deviations -.5 -.5 1 and -1 0 1, so 1.5 / sqrt(1.5 * 2).
    assert rank_correlation(np.array([5, 5, 6]), np.array([1, 2, 3])) == pytest.approx(1.5 / math.sqrt(3))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
def test_equals_scipy(pairs: list[tuple[int, int]]) -> None:
    """Few distinct values, so that there are ties."""
    x, y = np.array(pairs, float).T
    value = float(rank_correlation(x, y))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(spearmanr(x, y).statistic)
    stacked = rank_correlation(np.stack([x, -x]), np.stack([y, y]))
    assert stacked.tolist() == pytest.approx([value, -value], nan_ok=True)


def random_case(images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    ground_truth = rng.random(images)
    return ground_truth + 0.2 * rng.random(images), ground_truth + 2 * rng.random(images), ground_truth


def test_intervals_equal_a_plain_bootstrap() -> None:
    method, baseline, ground_truth = random_case(12)
    found = compare_rankings(method, baseline, ground_truth, resamples=600)
    rng = np.random.default_rng(0)
    resampled = []
    for drawn in [*rng.integers(12, size=(500, 12)), *rng.integers(12, size=(100, 12))]:
        resampled.append([spearmanr(score[drawn], ground_truth[drawn]).statistic for score in (method, baseline)])
    values = np.array(resampled).T
    for interval, expected in zip(found, (values[0], values[1], values[0] - values[1])):
        assert interval[1:] == pytest.approx(np.percentile(expected, [2.5, 97.5]))
    assert found.method.value == pytest.approx(spearmanr(method, ground_truth).statistic)
    assert found.baseline.value == pytest.approx(spearmanr(baseline, ground_truth).statistic)
    assert found.difference.value == found.method.value - found.baseline.value


def test_comparison_is_paired_and_repeatable() -> None:
    method, baseline, ground_truth = random_case(20)
    assert compare_rankings(method, baseline, ground_truth, 200) == compare_rankings(
        method, baseline, ground_truth, 200
    )
    assert compare_rankings(method, method, ground_truth, 200).difference == (0, 0, 0)


def test_constant_score_has_no_correlation() -> None:
    constant, other = np.ones(4), np.arange(4.0)
    found = compare_rankings(constant, other, other, 100)
    assert all(map(math.isnan, (*found.method, *found.difference)))
    assert found.baseline == (pytest.approx(1), pytest.approx(1), pytest.approx(1))  # draws of one image are left out
    assert all(math.isnan(bound) for interval in compare_rankings(*np.ones((3, 1)), 100) for bound in interval)


@pytest.mark.parametrize("sizes", [(0, 0, 0), (2, 3, 3), (3, 3, 2)])
def test_different_or_empty_shapes_are_errors(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="one shape"):
        compare_rankings(*(np.zeros(size) for size in sizes))
