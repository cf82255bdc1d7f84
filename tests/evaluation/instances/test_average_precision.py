"""Average precision equals that of pycocotools to the last digit."""

import math

import pytest
from pycocotools_reference import score_by_pycocotools
from random_instances import draw_images, draw_toyscapes

from unified_seg.evaluation.instances.average_precision import (
    compute_average_precision,
    find_limit,
    match_instances,
)
from unified_seg.evaluation.instances.objects import Detection, GroundTruthInstance, ImageInstances

TASKS = ("bbox", "segm")


def score(images: list[ImageInstances], task: str, names: list[str], limit: int = 100) -> dict[str, float]:
    return compute_average_precision(match_instances(images, task, names, limit), names)


def assert_equals_pycocotools(images: list[ImageInstances], names: list[str], limit: int) -> dict[str, float]:
    """Return the scores of masks."""
    for task in TASKS:
        scores, expected = score(images, task, names, limit), score_by_pycocotools(images, task, names, limit)
        assert scores.keys() == expected.keys()
        for key, value in expected.items():
            assert scores[key] == value or (math.isnan(scores[key]) and math.isnan(value)), (task, key)
    return scores


def test_random_images():
    """200 cases with crowds, equal scores, empty images, all sizes of objects, and limits from 0 to 100."""
    scores = [assert_equals_pycocotools(*draw_images(seed)) for seed in range(200)]
    assert sum(each["AP"] > 0 for each in scores) > 80


def test_toyscapes():
    images, names = draw_toyscapes(20, (128, 256))
    assert sum(len(image.ground_truth) for image in images) > 30
    assert any(each.is_crowd for image in images for each in image.ground_truth)
    scores = assert_equals_pycocotools(images, names, 100)
    assert 5 < scores["AP"] < 95 and scores["APs"] > 0 and scores["APm"] > 0


def test_without_any_instance_or_detection():
    empty = [ImageInstances([], [], None)] * 2
    assert all(math.isnan(value) for value in assert_equals_pycocotools(empty, ["car"], 100).values())


def test_classes_that_do_not_occur_are_undefined():
    images, names, _ = draw_images(3)
    expected = score(images, "segm", names)
    scores = score(images, "segm", [*names, *(f"other {i}" for i in range(30_000))])
    assert len(scores) == len(expected) + 30_000 and math.isnan(scores["AP-other 0"])
    assert {key: scores[key] for key in expected} == pytest.approx(expected, nan_ok=True, rel=0, abs=0)


def test_ids_of_0_are_matched():
    """Image 0, class 0, and the first object and detection."""
    box = (1.0, 2.0, 8.0, 8.0)
    found = [Detection(0, 0.5, list(box), None)]
    images = [ImageInstances([GroundTruthInstance(0, box, 64.0, False, None)], found, None)]
    assert score(images, "bbox", ["car"])["AP"] == pytest.approx(100)


@pytest.mark.parametrize(("limit", "expected"), [(-1, 101), (0, 0), (7, 7)])
def test_limit(limit: int, expected: int):
    box = [1.0, 2.0, 8.0, 8.0]
    images = [ImageInstances([], [Detection(0, 0.5, box, None)] * count, None) for count in (3, 101)]
    assert find_limit(images, limit) == expected
    assert find_limit(images[:1], -1) == 100
    unfused = [images[0]._replace(unfused=images[1].detections)]
    assert find_limit(unfused, limit) == expected
