"""Kinds of errors of segments: by hand, and that each false negative and false positive has one kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.ops.metrics.panoptic_quality import PanopticMatches, Segment, compute_panoptic_scores, pair_segments
from unified_seg.ops.metrics.segment_errors import (
    INEXACT,
    KINDS,
    MERGED,
    MISSED,
    MISTAKE,
    SPLIT,
    WRONG_CLASS,
    compute_lost_quality,
    count_segment_errors,
    find_segment_errors,
)

ROAD, CAR, BUS = range(3)


def find(
    ground_truth: list[int], classes: dict[int, int], prediction: list[int], predicted: dict[int, int]
) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Errors of maps of one row, with the ids of their segments."""
    gt_segments = [Segment(i, cls) for i, cls in classes.items()]
    predicted_segments = [Segment(i, cls) for i, cls in predicted.items()]
    pairs = pair_segments(np.array([ground_truth]), gt_segments, np.array([prediction]), predicted_segments)
    gt_ids, ids = list(classes), list(predicted)
    return [
        (e.kind, tuple(gt_ids[i] for i in e.missed), tuple(ids[i] for i in e.wrong)) for e in find_segment_errors(pairs)
    ]


@pytest.mark.parametrize(
    ("ground_truth", "classes", "prediction", "predicted", "expected"),
    [
        ([1, 1, 1, 2], {1: CAR, 2: ROAD}, [5, 5, 5, 6], {5: BUS, 6: ROAD}, [(WRONG_CLASS, (1,), (5,))]),
        # The larger of two cars matches the segment that covers both; with equal ones none does.
        ([1, 1, 1, 2], {1: CAR, 2: CAR}, [5, 5, 5, 5], {5: CAR}, [(MERGED, (2,), ())]),
        ([1, 1, 2, 2], {1: CAR, 2: CAR}, [5, 5, 5, 5], {5: CAR}, [(MERGED, (1, 2), (5,))]),
        ([1, 1, 1, 1], {1: CAR}, [5, 5, 6, 6], {5: CAR, 6: CAR}, [(SPLIT, (1,), (5, 6))]),
        # One part matches the car, so that the other is there by mistake.
        ([1, 1, 1, 1], {1: CAR}, [5, 5, 5, 6], {5: CAR, 6: CAR}, [(MISTAKE, (), (6,))]),
        ([1, 1, 1], {1: CAR}, [5, 0, 0], {5: CAR}, [(INEXACT, (1,), (5,))]),
        # A tenth is just enough.
        ([1] * 10, {1: CAR}, [5] + [0] * 9, {5: CAR}, [(INEXACT, (1,), (5,))]),
        # Half of a part inside is not enough for a split.
        (
            [1, 1, 2, 2],
            {1: CAR, 2: ROAD},
            [5, 6, 5, 6],
            {5: CAR, 6: CAR},
            [(INEXACT, (1,), (5,)), (MISSED, (2,), ()), (MISTAKE, (), (6,))],
        ),
        ([1, 1, 2, 2], {1: CAR, 2: ROAD}, [0, 0, 6, 6], {6: ROAD}, [(MISSED, (1,), ())]),
        ([1, 1, 1, 1], {1: ROAD}, [6, 6, 6, 5], {5: CAR, 6: ROAD}, [(MISTAKE, (), (5,))]),
    ],
)
def test_kinds_by_hand(
    ground_truth: list[int],
    classes: dict[int, int],
    prediction: list[int],
    predicted: dict[int, int],
    expected: list[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> None:
    assert find(ground_truth, classes, prediction, predicted) == expected


maps = st.lists(st.integers(0, 4), min_size=12, max_size=12)
ids = st.lists(st.integers(0, 2), min_size=5, max_size=5)


@settings(max_examples=60, deadline=None)
@given(maps, ids, maps, ids, st.booleans())
def test_each_error_has_one_kind(
    ground_truth: list[int], classes: list[int], prediction: list[int], predicted: list[int], has_crowd: bool
) -> None:
    crowd = max(ground_truth) if has_crowd else 0
    gt_segments = [Segment(i, classes[i], i == crowd) for i in sorted(set(ground_truth) - {0})]
    predicted_segments = [Segment(i, predicted[i]) for i in sorted(set(prediction) - {0})]
    pairs = pair_segments(np.array([ground_truth]), gt_segments, np.array([prediction]), predicted_segments)
    errors = find_segment_errors(pairs)
    missed, wrong = ([i for error in errors for i in error[part]] for part in (1, 2))
    assert sorted(missed) == np.flatnonzero(pairs.missed).tolist()
    assert sorted(wrong) == np.flatnonzero(pairs.wrong).tolist()
    assert [KINDS.index(e.kind) for e in errors] == sorted(KINDS.index(e.kind) for e in errors)
    counts, matches = count_segment_errors(errors, pairs, 3), pairs.count(3)
    assert counts[:, 0].sum(axis=0).tolist() == matches.fn.tolist()
    assert counts[:, 1].sum(axis=0).tolist() == matches.fp.tolist()


def test_lost_quality_by_hand() -> None:
    # Two classes with 2 matches each of IoU 0.75; road misses one and has one by mistake, car is split once.
    matches = PanopticMatches(np.array([1.5, 1.5, 0]), np.array([2, 2, 0]), np.array([1, 2, 0]), np.array([1, 1, 0]))
    counts = np.zeros((len(KINDS), 2, 3), dtype=np.int64)
    counts[KINDS.index(MISSED), 0, ROAD] = counts[KINDS.index(MISTAKE), 1, ROAD] = 1
    counts[KINDS.index(SPLIT), :, CAR] = 1, 2
    lost = dict(zip([*KINDS, "outlines"], compute_lost_quality(counts, matches)))
    road, car = 1.5 / 3, 1.5 / 3.5
    assert compute_panoptic_scores(matches, np.ones(3, dtype=bool)).all.pq == pytest.approx((road + car) / 2)
    assert lost[MISSED] == pytest.approx(100 * (1.5 / 2.5 - road) / 2) == pytest.approx(lost[MISTAKE])
    assert lost[SPLIT] == pytest.approx(100 * (1.5 / 2 - car) / 2)
    assert lost["outlines"] == pytest.approx(100 * (0.5 / 3 + 0.5 / 3.5) / 2)
    assert lost[WRONG_CLASS] == lost[MERGED] == lost[INEXACT] == 0


def test_a_class_without_its_errors_counts_as_0_and_nothing_is_undefined() -> None:
    matches = PanopticMatches(np.zeros(2), np.array([0, 0]), np.array([0, 0]), np.array([1, 0]))
    counts = np.zeros((len(KINDS), 2, 2), dtype=np.int64)
    counts[KINDS.index(MISSED), 0, 0] = 1
    assert compute_lost_quality(counts, matches).tolist() == [0] * 7
    nothing = PanopticMatches(*np.zeros((4, 2)))
    assert np.isnan(compute_lost_quality(counts * 0, nothing)).all()
