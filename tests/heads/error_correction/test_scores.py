import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.heads.error_correction.scores import CORRECT, EASY, HARD, THRESHOLDS, compute_scores, count_by_score


def maps(*pixels: tuple[float, str]) -> tuple[np.ndarray, ...]:
    """Return scores, errors, hard and valid pixels of an image of one row, from the kinds of its pixels."""
    scores = np.array([[score for score, _ in pixels]], np.float32)
    kinds = np.array([[kind for _, kind in pixels]])
    # Ignored pixels are errors as well, and correct ones would be hard: neither may count.
    return scores, kinds != "correct", kinds != "easy", kinds != "ignored"


HAND = maps(
    (0.9, "hard"),
    (0.6, "hard"),
    (0.3, "easy"),
    (0.05, "easy"),
    (0.7, "correct"),
    (0.2, "correct"),
    (0.0, "correct"),
    (1.0, "ignored"),
)


def test_counts_match_hand_computed_ones() -> None:
    counts = count_by_score(*HAND, thresholds=np.array([0.1, 0.5]))
    assert counts.dtype == np.int64
    # Columns: up to 0.1, above it, above 0.5.
    assert counts[CORRECT].tolist() == [1, 1, 1]
    assert counts[EASY].tolist() == [1, 1, 0]
    assert counts[HARD].tolist() == [0, 0, 2]


def test_scores_match_hand_computed_ones() -> None:
    scores = compute_scores(count_by_score(*HAND, thresholds=np.array([0.1, 0.5])))
    # 4 of 7 pixels are wrong, 2 of these hard.
    assert scores.error_rate == pytest.approx(4 / 7) and scores.hard_ratio == pytest.approx(2 / 4)
    # Above 0.1 are 3 of the wrong and 2 right ones: union 4 + 2. Above 0.5 2 of the wrong, both hard, and 1 right one.
    assert scores.iou == pytest.approx([3 / 6, 2 / 5])
    assert scores.precision == pytest.approx([3 / 5, 2 / 3])
    assert scores.recall == pytest.approx([3 / 4, 2 / 4])
    assert scores.hard_recall == pytest.approx([1, 1])


def test_score_equal_to_a_threshold_does_not_exceed_it() -> None:
    """Also in float32, where most thresholds are rounded up or down."""
    assert len(THRESHOLDS) == 99 and THRESHOLDS[69] == 0.7
    for dtype in (np.float32, np.float64):
        for index, threshold in enumerate(THRESHOLDS):
            score = np.array([[threshold]], dtype)
            for here, above in ((score, index), (np.nextafter(score, dtype(1)), index + 1)):
                everywhere = np.ones((1, 1), bool)
                counts = count_by_score(here, everywhere, everywhere, everywhere)
                assert counts[HARD].nonzero()[0].tolist() == [above]


SCORE = st.one_of(st.integers(0, 100).map(lambda i: i / 100), st.floats(0, 1, width=32))
PIXEL = st.tuples(SCORE, st.sampled_from(["correct", "easy", "hard", "ignored"]))


@settings(max_examples=100, deadline=None)
@given(st.lists(PIXEL, min_size=1, max_size=30))
def test_scores_equal_a_plain_reference(pixels: list[tuple[float, str]]) -> None:
    scores = compute_scores(count_by_score(*maps(*pixels)))
    counted = [(np.float32(score), kind) for score, kind in pixels if kind != "ignored"]
    wrong = [score for score, kind in counted if kind != "correct"]
    hard = [score for score, kind in counted if kind == "hard"]
    assert_same(scores.error_rate, len(wrong), len(counted))
    assert_same(scores.hard_ratio, len(hard), len(wrong))
    for index, threshold in enumerate(THRESHOLDS.astype(np.float32)):
        found = sum(score > threshold for score, _ in counted)
        right = sum(score > threshold for score in wrong)
        assert_same(scores.iou[index], right, len(wrong) + found - right)
        assert_same(scores.precision[index], right, found)
        assert_same(scores.recall[index], right, len(wrong))
        assert_same(scores.hard_recall[index], sum(score > threshold for score in hard), len(hard))


def assert_same(value: float, part: int, whole: int) -> None:
    assert value == pytest.approx(part / whole) if whole else math.isnan(value)


def random_image(seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return rng.random((9, 7), np.float32), *(rng.random((9, 7)) < share for share in (0.3, 0.5, 0.8))


def test_counts_of_several_images_are_added() -> None:
    images = [random_image(seed) for seed in range(3)]
    together = count_by_score(*(np.concatenate(parts) for parts in zip(*images)))
    assert np.array_equal(sum(count_by_score(*image) for image in images), together)
    assert together.sum() == sum(image[3].sum() for image in images)


@pytest.mark.parametrize(
    ("pixels", "defined"),
    [
        # No error: the pixel is found up to 0.5.
        ([(0.5, "correct")], {"error_rate": 0, "iou": 0, "precision": 0}),
        # No error and no pixel found: not even an IoU.
        ([(0.0, "correct")], {"error_rate": 0}),
        # Only easy errors, which are found up to 0.5.
        ([(0.5, "easy")], {"error_rate": 1, "hard_ratio": 0, "iou": 1, "precision": 1, "recall": 1}),
        ([(0.5, "ignored")], {}),
    ],
)
def test_scores_without_pixels_are_nan(pixels: Any, defined: dict[str, float]) -> None:
    scores = compute_scores(count_by_score(*maps(*pixels)))
    first = {name: np.ravel(value)[0] for name, value in scores._asdict().items()}
    assert {name: value for name, value in first.items() if not math.isnan(value)} == defined


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
def test_scores_outside_0_to_1_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        count_by_score(*maps((0.5, "easy"), (value, "correct")))
    assert count_by_score(*maps((0.5, "easy"), (value, "ignored"))).sum() == 1


def test_maps_of_different_sizes_are_refused() -> None:
    scores, errors, hard, valid = HAND
    with pytest.raises(ValueError, match=r"shape of scores, \(1, 8\), got \[\(1, 7\)\]"):
        count_by_score(scores, errors[:, 1:], hard, valid)
