import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from unified_seg.reporting.error_ranking import (
    Measures,
    RankComparison,
    compare_rankings,
    describe,
    summarize,
    write_ranking,
)


def compare(error, entropy, true_error, resamples: int = 100) -> RankComparison:
    """Compare images with these predicted errors, entropies and true errors."""
    ranked = [({}, Measures(*each)) for each in zip(error, [0.5] * len(error), entropy, true_error)]
    comparison = compare_rankings(ranked, resamples)
    assert comparison is not None
    return comparison


def random_case(images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    true_error = rng.random(images)
    return true_error + 0.2 * rng.random(images), true_error + 2 * rng.random(images), true_error


def test_correlations_by_hand():
    # Ranks 1 2 3 4 and 2 1 4 3: differences of one everywhere, 1 - 6 * 4 / (4 * 15) = 0.6.
    found = compare([10, 20, 30, 40], [1, 2, 3, 4], [0.2, 0.1, 0.9, 0.8])
    assert found.predicted_error.value == pytest.approx(0.6)
    # Ranks 1.5 1.5 3 and 1 2 3: deviations -.5 -.5 1 and -1 0 1, so 1.5 / sqrt(1.5 * 2).
    assert compare([5, 5, 6], [1, 2, 3], [1, 2, 3]).predicted_error.value == pytest.approx(1.5 / math.sqrt(3))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
def test_correlations_with_ties_are_those_of_spearmanr(pairs):
    x, y = np.array(pairs, float).T
    found = compare(x, -x, y, resamples=1)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(found.predicted_error.value)
    else:
        assert found.predicted_error.value == pytest.approx(spearmanr(x, y).statistic)
        assert found.mean_entropy.value == pytest.approx(-found.predicted_error.value)


def test_intervals_are_percentiles_over_resampled_images():
    error, entropy, true_error = random_case(12)
    found = compare(error, entropy, true_error, resamples=600)
    rng = np.random.default_rng(0)
    resampled = []
    for drawn in [*rng.integers(12, size=(500, 12)), *rng.integers(12, size=(100, 12))]:
        resampled.append([spearmanr(score[drawn], true_error[drawn]).statistic for score in (error, entropy)])
    values = np.array(resampled).T
    for interval, expected in zip(found, (values[0], values[1], values[0] - values[1])):
        assert interval[1:] == pytest.approx(np.percentile(expected, [2.5, 97.5]))
    assert found.difference.value == found.predicted_error.value - found.mean_entropy.value


def test_comparison_is_paired_and_repeatable():
    error, entropy, true_error = random_case(20)
    assert compare(error, entropy, true_error) == compare(error, entropy, true_error)
    assert compare(error, error, true_error).difference == (0, 0, 0)


def test_constant_scores_have_no_correlation():
    constant, other = np.ones(4), np.arange(4.0)
    found = compare(constant, other, other)
    assert all(map(math.isnan, (*found.predicted_error, *found.difference)))
    # Resamples of a single image have no correlation and are left out.
    assert found.mean_entropy == (pytest.approx(1), pytest.approx(1), pytest.approx(1))


def test_a_single_image_has_no_correlation():
    assert all(math.isnan(bound) for interval in compare([0.1], [0.2], [0.3]) for bound in interval)


def test_images_without_ground_truth_do_not_count():
    unknown = ({}, Measures(0.9, 0.9, 0.1, math.nan))
    known = [({}, Measures(0.1 * i, 0, 0.1 * i, 0.1 * i)) for i in range(4)]
    assert compare_rankings([unknown]) is None
    assert compare_rankings([unknown, *known]) == compare_rankings(known)


def test_names_of_others_are_no_formulas_and_end_nothing(tmp_path: Path) -> None:
    names = ["=HYPERLINK(1)", "+1.png", "-1.png", "@x.png", "a\udcff\x1b[2J.png"]
    write_ranking(tmp_path / "r.csv", [({"file_name": name}, Measures(0.5, 0.5, 0.5, math.nan)) for name in names])
    rows = (tmp_path / "r.csv").read_text().splitlines()[1:]
    cells = [row.split(",")[1] for row in rows]
    assert cells == ["'=HYPERLINK(1)", "'+1.png", "'-1.png", "'@x.png", r"a\udcff\x1b[2J.png"]


def test_without_predicted_errors_the_entropy_is_compared_and_written(tmp_path: Path) -> None:
    ranked = [({"file_name": f"{i}.png"}, Measures(math.nan, math.nan, 0.1 * i, 0.1 * i)) for i in range(4)]
    comparison = compare_rankings(ranked)
    assert comparison is not None and math.isnan(comparison.predicted_error.value)
    assert comparison.mean_entropy.value == pytest.approx(1)
    assert "predicted" not in describe(comparison, 4, predicts_errors=False)
    write_ranking(tmp_path / "r.csv", ranked)
    assert (tmp_path / "r.csv").read_text().splitlines()[0] == "rank,file_name,mean_entropy,true_error"
    assert summarize(ranked, comparison)["mean"].keys() == {"mean_entropy", "true_error"}
    assert [measures.uncertainty for _, measures in ranked] == pytest.approx([0, 0.1, 0.2, 0.3])
