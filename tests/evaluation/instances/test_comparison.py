"""The difference of two models' AP, and its interval against a bootstrap that counts repeated images."""

import json
import math

import numpy as np
import pytest
from drawn_streets import CAR_A, SIZE, Streets, draw_street, instances_of, perfect_output

from unified_seg.evaluation.instances.average_precision import compute_average_precision, match_instances
from unified_seg.evaluation.instances.comparison import (
    InstanceComparison,
    compare_average_precision,
    describe_changes,
    format_changes,
)
from unified_seg.evaluation.instances.objects import Detection, GroundTruthInstance, ImageInstances

NAMES = ["person", "car"]
Models = tuple[list[ImageInstances], list[ImageInstances]]


@pytest.fixture(scope="module")
def models() -> Models:
    """Two models that find boxes of two classes with different errors, and some that do not exist."""
    random = np.random.default_rng(0)
    sides: Models = ([], [])
    for _ in range(60):
        classes = random.integers(2, size=random.integers(1, 6)).tolist()
        objects = [
            GroundTruthInstance(c, (100.0 * i, 0.0, 50.0, 50.0), 2500.0, False, None) for i, c in enumerate(classes)
        ]
        for images, deviation in zip(sides, (10, 7)):
            found = [
                Detection(each.thing_id, float(random.random()), [each.box[0] + shift, 0.0, 50.0, 50.0], None)
                for each, shift in zip(objects, random.normal(0, deviation, len(objects)).tolist())
            ]
            found.append(Detection(int(random.integers(2)), float(random.random()), [600.0, 0.0, 50.0, 50.0], None))
            images.append(ImageInstances(objects, found, None))
    return sides


def test_scores_are_those_of_each_model(models: Models):
    sides = [match_instances(images, "bbox", NAMES) for images in models]
    changes = compare_average_precision(*sides, NAMES, resamples=50)
    for side, matches in zip(("before", "after"), sides):
        expected = compute_average_precision(matches, NAMES)
        assert {name: getattr(each, side) for name, each in changes.items()} == pytest.approx(expected, nan_ok=True)
    assert changes["AP"].gain == changes["AP"].after - changes["AP"].before > 0
    assert math.isnan(changes["AP-car"].margin)


def test_interval_is_that_of_a_bootstrap_with_repeated_images(models: Models):
    random = np.random.default_rng(0)
    gains = []
    for _ in range(100):
        drawn = random.integers(60, size=60)
        one, other = (
            compute_average_precision(match_instances([images[i] for i in drawn], "bbox", NAMES), NAMES)["AP"]
            for images in models
        )
        gains.append(other - one)
    sides = (match_instances(images, "bbox", NAMES) for images in models)
    margin = compare_average_precision(*sides, NAMES)["AP"].margin
    # 100 draws give the deviation to about 7 %. Without the widening it would be 24 % too small.
    assert margin == pytest.approx(1.96 * np.std(gains), rel=0.15)


def test_a_model_equals_itself(models: Models):
    matches = match_instances(models[0], "bbox", NAMES)
    change = compare_average_precision(matches, matches, NAMES, resamples=20)["AP"]
    assert (change.gain, change.margin) == (0, 0)


def test_instances_are_collected_by_image(streets: Streets):
    scenes = [draw_street(), draw_street(things=(CAR_A,)), draw_street(things=())]
    records = [streets.add(f"street_{i}", scene) for i, scene in enumerate(scenes)]
    nothing = {"instances": instances_of(np.zeros((0, *SIZE), dtype=bool), [], [])}
    comparison = InstanceComparison(streets.table, with_masks=True, max_detections=(100, -1))
    for record, scene in zip(records, scenes):
        for _ in range(2):  # the second time replaces the first
            comparison.add(record, (nothing, perfect_output(scene)))
    (changes,) = comparison.compute()
    assert changes.keys() == {"bbox", "segm"}
    assert (changes["segm"]["AP"].before, changes["segm"]["AP"].after) == (0, pytest.approx(100))
    described = json.loads(json.dumps(describe_changes(changes), allow_nan=False))
    assert described["segm"]["AP"]["gain"] == pytest.approx(100)
    assert described["segm"]["APl"] == {"before": None, "after": None, "gain": None, "low": None, "high": None}
    assert described["segm"]["AP-car"]["after"] == pytest.approx(100) and described["segm"]["AP-car"]["low"] is None
    table = format_changes(changes, ("FPN", "PSP"))
    assert "FPN" in table and "PSP" in table
    assert [line.split()[:5] for line in table.splitlines() if line.startswith("mask AP ")] == [
        ["mask", "AP", "0.00", "100.00", "+100.00"]
    ]


def test_models_may_have_different_limits_of_detections(streets: Streets):
    record = streets.add("street", draw_street())
    comparison = InstanceComparison(streets.table, with_masks=False, max_detections=(100, 200))
    comparison.add(record, [perfect_output(draw_street())] * 2)
    (changes,) = comparison.compute()
    assert changes["bbox"]["AP"].after == pytest.approx(100)


def test_one_image_has_no_interval(streets: Streets):
    record = streets.add("street", draw_street())
    comparison = InstanceComparison(streets.table, with_masks=False, max_detections=(100, 100))
    comparison.add(record, [perfect_output(draw_street())] * 2)
    (changes,) = comparison.compute()
    assert changes.keys() == {"bbox"} and math.isnan(changes["bbox"]["AP"].margin)
    assert "box AP" in format_changes(changes, ("FPN", "PSP"))
