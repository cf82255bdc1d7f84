import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unified_seg.ops.id_maps import UnknownIdsError, count_pairs, measure_segments, replace_ids

IDS = [70001, -3, 0, 2, 12]


@given(arrays(np.int32, (4, 9), elements=st.sampled_from(IDS)), arrays(np.uint8, (4, 9), elements=st.integers(0, 2)))
@settings(deadline=None)
def test_count_pairs_equals_numpy(first: np.ndarray, second: np.ndarray):
    expected = [[((first == a) & (second == b)).sum() for b in (2, 0, 1)] for a in IDS]
    assert count_pairs(first, second, IDS, (2, 0, 1)).tolist() == expected


def test_count_pairs_names_unknown_ids():
    maps = np.array([0, 5, 7, 5]), np.array([1, 1, 2, 8])
    with pytest.raises(UnknownIdsError) as error:
        count_pairs(*maps, [0, 1], [1, 2, 8])
    assert (error.value.in_first, error.value.ids) == (True, [5, 7])
    with pytest.raises(UnknownIdsError) as error:
        count_pairs(*maps, [0, 5, 7], [1])
    assert (error.value.in_first, error.value.ids) == (False, [2, 8])


@given(arrays(np.int32, (5, 7), elements=st.sampled_from(IDS)))
@settings(deadline=None)
def test_measure_segments_equals_numpy(ids: np.ndarray):
    known = sorted({*IDS, 99})
    for wanted, (area, top, bottom, left, right) in zip(known, measure_segments(ids, known).tolist()):
        rows, columns = np.nonzero(ids == wanted)
        assert area == len(rows)
        window = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) if area else (0, 0, 0, 0)
        assert (top, bottom, left, right) == window


def test_measure_segments_names_unknown_ids():
    with pytest.raises(UnknownIdsError) as error:
        measure_segments(np.array([[0, 5], [7, 5]]), [0, 7])
    assert error.value.ids == [5]


@given(arrays(np.int32, (4, 9), elements=st.sampled_from(IDS)))
@settings(deadline=None)
def test_replace_ids_equals_plain_code(ids: np.ndarray):
    known = sorted(IDS)
    values = [7, 0, 255, 3, 7]
    expected = [[values[known.index(i)] for i in row] for row in ids.tolist()]
    assert replace_ids(ids, known, values).tolist() == expected


def test_replace_ids_names_unknown_ids():
    with pytest.raises(UnknownIdsError) as error:
        replace_ids(np.array([[0, 5], [7, 5]]), [0, 1, 7], [1, 2, 3])
    assert error.value.ids == [5]
