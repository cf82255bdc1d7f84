"""The AP of resampled images, by hand; tests of the matches compare it with the official tool."""

import numpy as np
import pytest

from unified_seg.ops.metrics.average_precision import RIGHT, UNCOUNTED, WRONG, InstanceMatches, compute_resampled_ap


def make_matches(
    detections: list[tuple[int, int, float, list[int]]], objects: list[tuple[int, int]]
) -> InstanceMatches:
    """Return matches of detections (image, thing id, score, outcomes) and objects (image, thing id)."""
    image, thing_id, score, outcome = zip(*detections)
    object_image, object_thing_id = np.array(objects).reshape(-1, 2).T
    return InstanceMatches(
        np.array(image), np.array(thing_id), np.array(score), np.array(outcome, np.int8), object_image, object_thing_id
    )


# Image 0 has an object that is found with 0.9, image 1 one that is missed and a wrong detection with 0.95.
MATCHES = make_matches([(0, 0, 0.9, [RIGHT]), (1, 0, 0.95, [WRONG])], [(0, 0), (1, 0)])


@pytest.mark.parametrize(
    "drawn, expected",
    [
        ((1, 1), 100 * 51 / 101 / 2),  # half of the objects are found, 51 of 101 levels, at a precision of 1/2
        ((2, 0), 100),
        ((0, 2), 0),
        # 3 of 4 objects, 76 levels, with one wrong detection before them: precision 3/4.
        ((3, 1), 100 * 76 / 101 * 3 / 4),
    ],
)
def test_resamples_by_hand(drawn: tuple[int, int], expected: float):
    assert compute_resampled_ap(MATCHES, np.array([drawn])) == pytest.approx([expected])


def test_every_resample_is_by_itself():
    drawn = np.array([[1, 1], [2, 0], [0, 2]])
    expected = [compute_resampled_ap(MATCHES, each[None])[0] for each in drawn]
    assert compute_resampled_ap(MATCHES, drawn) == pytest.approx(expected)


def test_mean_over_thresholds_and_classes():
    # Class 0 is right at one of two thresholds, class 1 is missed; class 2 has no object.
    matches = make_matches([(0, 0, 0.5, [RIGHT, WRONG]), (0, 2, 0.9, [WRONG, WRONG])], [(0, 0), (0, 1)])
    assert compute_resampled_ap(matches, np.array([[1]])) == pytest.approx([25])


def test_classes_without_an_object_in_the_resample_do_not_count():
    matches = make_matches([(0, 0, 0.5, [RIGHT])], [(0, 0), (1, 1)])
    assert compute_resampled_ap(matches, np.array([[1, 1], [1, 0]])) == pytest.approx([50, 100])
    assert np.isnan(compute_resampled_ap(MATCHES, np.array([[0, 0]]))).all()


def test_without_objects_it_is_undefined():
    matches = make_matches([(0, 0, 0.5, [WRONG])], [])
    assert np.isnan(compute_resampled_ap(matches, np.array([[1], [2]]))).tolist() == [True, True]


def test_detections_of_crowds_do_not_count():
    matches = make_matches([(0, 0, 0.9, [UNCOUNTED]), (0, 0, 0.5, [RIGHT])], [(0, 0)])
    assert compute_resampled_ap(matches, np.array([[1]])) == pytest.approx([100])
