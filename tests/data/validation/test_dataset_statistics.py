"""Statistics of hand-made contents; those of data sets on disk are in test_survey.py."""

import numpy as np

from unified_seg.data.validation.dataset_statistics import (
    ImageContents,
    InstanceMeasures,
    compute_quantiles,
    compute_statistics,
)
from unified_seg.structures.class_table import ClassTable, SegmentClass

BLUE = (0, 0, 255)
# As COCO separated has it: all things share the semantic id 0.
SHARED = ClassTable(
    [
        SegmentClass("hen", 0, 0, 1, "hen", BLUE),
        SegmentClass("cow", 0, 1, 2, "cow", BLUE),
        SegmentClass("grass", 1, None, 3, "grass", BLUE),
    ]
)


def test_things_with_a_shared_semantic_id() -> None:
    hen = InstanceMeasures.from_rows([(0, False, 12, 3, 4)])
    statistics = compute_statistics([ImageContents((8, 9), {0: 12, 1: 60}, hen)], SHARED)
    assert [(c.name, c.pixels, c.images, c.instances) for c in statistics.classes] == [
        ("hen", None, 1, 1),
        ("cow", None, 0, 0),
        ("grass", 60, 1, None),
    ]
    assert [c.is_empty for c in statistics.classes] == [False, True, False]


def test_semantic_ground_truth_has_no_instances() -> None:
    statistics = compute_statistics([ImageContents((8, 9), {1: 60}, None), ImageContents(None, {}, None)], SHARED)
    assert [(c.instances, c.crowds) for c in statistics.classes] == [(None, None)] * 3
    assert statistics.instances_per_image == [] and statistics.instance_sizes.shape == (0, 3)
    assert statistics.image_sizes == {(8, 9): 1} and statistics.classes_per_image == [1, 0]


def test_crowds_are_counted_separately() -> None:
    measures = InstanceMeasures.from_rows([(1, True, 50, 5, 10), (1, False, 6, 2, 3), (1, False, 8, 2, 4)])
    statistics = compute_statistics([ImageContents((8, 9), None, measures)], SHARED)
    cow = statistics.classes[1]
    assert (cow.pixels, cow.images, cow.instances, cow.crowds) == (None, 1, 2, 1)
    assert statistics.instances_per_image == [2]
    assert statistics.to_json()["instance_area"] == compute_quantiles([6, 8])


def test_quantiles_are_keyed_by_percent() -> None:
    assert compute_quantiles([]) is None
    # Of 0 .. 100 the value at a quantile is its percent.
    assert compute_quantiles(np.arange(101)) == {"0": 0, "5": 5, "25": 25, "50": 50, "75": 75, "95": 95, "100": 100}
