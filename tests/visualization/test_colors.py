from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unified_seg.visualization.colors import assign_shades, make_shades, make_void_pattern

CAR, PERSON = (0, 0, 142), (220, 20, 60)
colors = st.tuples(*[st.integers(0, 255)] * 3)


@given(colors)
def test_shades_begin_with_the_color_and_are_valid(color):
    shades = make_shades(color)
    assert shades[0] == color
    assert all(0 <= channel <= 255 for shade in shades for channel in shade)


@given(colors.filter(lambda c: max(c) - min(c) > 60))
def test_shades_of_a_color_differ(color):
    shades = np.array(make_shades(color), dtype=int)
    distances = np.abs(shades[:, None] - shades[None]).max(axis=2)
    assert distances[~np.eye(len(shades), dtype=bool)].min() >= 8


def test_only_instance_has_the_class_color():
    assert assign_shades([CAR, PERSON], np.array([[0, 0, 10, 10], [0, 0, 10, 10]])) == [CAR, PERSON]


def test_neighbors_of_a_class_differ():
    boxes = np.array([[10 * i, 0, 10 * i + 10, 10] for i in range(20)])
    shades = assign_shades([CAR] * 20, boxes)
    assert all(left != right for left, right in pairwise(shades))


def test_shades_do_not_depend_on_the_order_of_instances():
    boxes = np.random.default_rng(0).uniform(0, 100, (12, 2, 2)).cumsum(axis=1).reshape(12, 4)
    order = np.random.default_rng(1).permutation(12)
    shades = assign_shades([CAR] * 12, boxes)
    assert assign_shades([CAR] * 12, boxes[order]) == [shades[i] for i in order]


def test_no_instance_has_no_shade():
    assert assign_shades([], np.zeros((0, 4))) == []


def test_different_numbers_of_colors_and_boxes_are_an_error():
    with pytest.raises(ValueError, match="2 colors and 1 boxes"):
        assign_shades([CAR, CAR], np.zeros((1, 4)))


def test_void_pattern_is_black_with_stripes():
    pattern = make_void_pattern(20, 30)
    assert pattern.shape == (20, 30, 3)
    assert 0.7 < (pattern == 0).mean() < 0.9
