"""The paired bootstrap, on counts whose result can be derived by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unified_seg.ops.metrics.average_precision import RIGHT, InstanceMatches
from unified_seg.ops.metrics.bootstrap import (
    bootstrap_ap_difference,
    bootstrap_difference,
    compute_mean_iou,
    compute_mean_pq,
)
from unified_seg.ops.metrics.confusion import compute_semantic_scores
from unified_seg.ops.metrics.panoptic_quality import PanopticMatches, compute_panoptic_scores


def counts(*images: tuple[int, int, int]) -> np.ndarray:
    """(1 seed, N, 3, 1 class) from one (intersection, ground truth, predicted) an image."""
    return np.array(images)[None, :, :, None]


def test_mean_iou_by_hand():
    # Class 0: 2 of 4 + 2 - 2 = 4 pixels, IoU 0.5. Class 1: never predicted: 0. Class 2: predicted only: 0.
    # Class 3 occurs nowhere and does not count. Mean of 0.5, 0, 0.
    assert compute_mean_iou(np.array([[2, 0, 0, 0], [4, 1, 0, 0], [2, 0, 3, 0]])) == pytest.approx(100 * 0.5 / 3)
    assert np.isnan(compute_mean_iou(np.zeros((3, 4))))


@given(st.lists(st.integers(0, 9), min_size=9, max_size=9).filter(any))
def test_mean_iou_equals_that_of_the_evaluator(entries):
    confusion = np.array(entries).reshape(3, 3)
    summed = np.stack([np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)])
    assert compute_mean_iou(summed) == pytest.approx(100 * compute_semantic_scores(confusion).mean_iou)


def test_mean_pq_by_hand():
    # Class 0: 1.5 of 2 + (1 + 1) / 2 = 3 segments. Class 1: only missed: 0. Class 2 occurs nowhere.
    counts_of_classes = np.array([[1.5, 0, 0], [2, 0, 0], [1, 0, 0], [1, 3, 0]])
    assert compute_mean_pq(counts_of_classes) == pytest.approx(100 * 0.5 / 2)
    assert np.isnan(compute_mean_pq(np.zeros((4, 3))))


@given(st.lists(st.integers(0, 9), min_size=9, max_size=9).filter(any))
def test_mean_pq_equals_that_of_the_evaluator(entries):
    tp, fp, fn = np.array(entries).reshape(3, 3)
    matches = PanopticMatches(0.75 * tp, tp, fp, fn)
    expected = compute_panoptic_scores(matches, np.zeros(3, dtype=bool)).all.pq
    assert compute_mean_pq(np.stack([matches.iou, tp, fp, fn])) == pytest.approx(100 * expected)


def test_interval_of_pq_is_that_of_resampled_images():
    # One image with its only segment matched perfectly, one with it missed: 1 of 1 + 1/2 segments. As below for mIoU,
    # resamples have both of the first, one of each, or both of the second.
    method = np.array([[1, 1, 0, 0], [0, 0, 0, 1]])[None, :, :, None]
    baseline = np.array([[0, 0, 0, 1], [0, 0, 0, 1]])[None, :, :, None]
    interval = bootstrap_difference(method, baseline, compute_mean_pq)
    assert (interval.mean, interval.low, interval.high) == (pytest.approx(200 / 3), 0, 100)


def test_interval_is_that_of_resampled_images():
    # The method has all of image 1 and nothing of image 2, the baseline nothing. Drawing two of two images gives
    # (both 1), (one of each), (both 2) with probability 1/4, 1/2, 1/4: differences 100, 50, 0. So the 2.5th and 97.5th
    # percentiles are 0 and 100, and the images as they are give 50.
    interval = bootstrap_difference(counts((1, 1, 1), (0, 1, 0)), counts((0, 1, 0), (0, 1, 0)))
    assert (interval.mean, interval.low, interval.high) == (50, 0, 100)


def test_scores_are_computed_from_summed_pixels():
    # 9 pixels right in one image and 1 wrong in another: IoU 9 / 10, not the mean of 1 and 0.
    assert bootstrap_difference(counts((9, 9, 9), (0, 1, 0)), counts((0, 9, 0), (0, 1, 0))).mean == pytest.approx(90)


def test_images_are_paired():
    # Images from hopeless to perfect, 100 pixels each, and the method has one more right on every one of them: whatever
    # is drawn, the difference is 1 point. Unpaired images would give an interval of tens of points.
    baseline = counts(*[(right, 100, right) for right in range(0, 99, 3)])
    method = counts(*[(right + 1, 100, right + 1) for right in range(0, 99, 3)])
    interval = bootstrap_difference(method, baseline)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((1, 1, 1))


def test_difference_is_the_mean_over_seeds():
    # IoU of 40 and 30 against 38 and 31 percent: +2 and -1, in each of two equal images.
    method = np.concatenate([counts(*[(right, 100, right)] * 2) for right in (40, 30)])
    baseline = np.concatenate([counts(*[(right, 100, right)] * 2) for right in (38, 31)])
    interval = bootstrap_difference(method, baseline)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.5, 0.5, 0.5))


def test_interval_covers_the_true_difference_in_95_percent():
    """Of 200 pairs of networks with a true difference of 5 points, about 95 % of the intervals contain it."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        right = random.binomial(1000, [[0.50], [0.55]], size=(2, 60)) + random.integers(-100, 100, 60)
        both = [counts(*[(r, 1000, r) for r in each]) for each in right]
        interval = bootstrap_difference(both[1], both[0], resamples=500)
        covered += interval.low <= 5 <= interval.high
    assert 180 <= covered <= 199


def test_counts_of_different_shapes_are_an_error():
    with pytest.raises(ValueError, match=r"counts: .*shape"):
        bootstrap_difference(counts((1, 1, 1)), counts((1, 1, 1), (1, 1, 1)))


def make_matches(*found: bool) -> InstanceMatches:
    """Return the matches of images with one object each, which is found or not."""
    image = np.flatnonzero(found)
    zeros, objects = np.zeros(len(image), np.int64), np.arange(len(found))
    outcome = np.full((len(image), 10), RIGHT, np.int8)
    return InstanceMatches(image, zeros, np.full(len(image), 0.5), outcome, objects, np.zeros(len(found), np.int64))


def test_interval_of_ap_is_that_of_resampled_images():
    # The method finds the object of image 1, the baseline none. Of the draws, see above, (one of each) has half of the
    # objects at precision 1: 51 of 101 recall levels.
    interval = bootstrap_ap_difference([make_matches(True, False)], [make_matches(False, False)], images=2)
    assert (interval.mean, interval.low, interval.high) == (pytest.approx(100 * 51 / 101), 0, pytest.approx(100))


def test_difference_of_ap_is_the_mean_over_seeds_of_paired_images():
    # Each seed has its own gain, in every image alike: two of two against none, none against none.
    method, baseline = [make_matches(True, True), make_matches(False, False)], [make_matches(False, False)] * 2
    interval = bootstrap_ap_difference(method, baseline, images=2)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((50, 50, 50))


def test_ap_of_different_numbers_of_seeds_is_an_error():
    with pytest.raises(ValueError, match=r"matches: 1 and 2 seeds"):
        bootstrap_ap_difference([make_matches(True)], [make_matches(True)] * 2, images=1)
