import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.ops.metrics.calibration import NUM_BINS, bin_levels, compute_calibration_error


def test_bins_and_error_by_hand() -> None:
    counts = np.zeros((256, 2), dtype=np.int64)
    # Level 255 is a confidence of 255.5 / 256, in the last of 15 bins; level 128 is 128.5 / 256, in the eighth.
    counts[255], counts[128] = (1, 3), (2, 0)
    middle, last = bin_levels(counts)
    assert middle == (7 / 15, 8 / 15, 128.5 / 256, 0.0, 2)
    assert last == (14 / 15, 1.0, 255.5 / 256, 0.75, 4)
    expected = (2 * 128.5 / 256 + 4 * (255.5 / 256 - 0.75)) / 6
    assert compute_calibration_error([middle, last]) == pytest.approx(expected)
    assert math.isnan(compute_calibration_error([]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=1, max_size=40))
def test_bins_are_the_means_of_their_predictions(predictions: list[tuple[int, bool]]) -> None:
    counts = np.zeros((256, 2), dtype=np.int64)
    for level, is_right in predictions:
        counts[level, int(is_right)] += 1
    for each in bin_levels(counts):
        inside = [(level, is_right) for level, is_right in predictions if each.low <= level / 256 < each.high]
        assert each.number == len(inside) and each.high - each.low == pytest.approx(1 / NUM_BINS)
        assert each.confidence == pytest.approx(np.mean([(level + 0.5) / 256 for level, _ in inside]))
        assert each.accuracy == pytest.approx(np.mean([is_right for _, is_right in inside]))
    assert sum(each.number for each in bin_levels(counts)) == len(predictions)
