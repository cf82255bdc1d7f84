"""The names of the errors of an image, and the pixels that are marked."""

from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_streets import CAR_A, CAR_B, ROAD, SIZE, SKY, Streets, draw_street, instances_of, perfect_output

from unified_seg.html_reports.evaluation.named_errors import (
    count_kinds,
    name_instance_errors,
    name_panoptic_errors,
    name_semantic_errors,
)
from unified_seg.visualization.ground_truth_outputs import read_ground_truth


@pytest.fixture
def streets(tmp_path: Path) -> Streets:
    return Streets(tmp_path)


def draw(*boxes: tuple[slice, slice]) -> np.ndarray:
    masks = np.zeros((len(boxes), *SIZE), dtype=bool)
    for mask, box in zip(masks, boxes):
        mask[box] = True
    return masks


def test_panoptic_errors_are_named_and_marked(streets: Streets) -> None:
    record = streets.add("street", draw_street())
    ids, infos = perfect_output(draw_street())["panoptic_seg"]
    infos = [info | {"category_id": 0} if info["id"] == 26000 else info for info in infos]  # car A is called a person
    ids[ids == 24002] = 7  # the walker becomes road
    infos = [info for info in infos if info["id"] != 24002]
    errors = name_panoptic_errors(record, {"panoptic_seg": (ids, infos)}, streets.table)
    assert [(error.text, error.area) for error in errors] == [
        ("wrong class: car taken for person", 600),
        ("missed: person", 300),
    ]
    assert errors[0].draw().sum() == 600 and errors[0].draw()[CAR_A[1:]].all()
    assert count_kinds(errors) == "1 wrong class, 1 missed"


def test_semantic_errors_are_confusions(streets: Streets) -> None:
    ground_truth = np.full((10, 10), SKY, dtype=np.uint8)
    ground_truth[:, 8:] = 255
    predicted = np.full((10, 10), SKY, dtype=np.uint8)
    predicted[:2] = ROAD
    (error,) = name_semantic_errors(ground_truth, predicted, streets.table)
    assert error.text == "sky taken for road: 20.0 % of the labeled pixels" and error.area == 16
    assert count_kinds([error]) == ""
    assert name_semantic_errors(ground_truth, ground_truth, streets.table) == []


@pytest.mark.parametrize("with_masks", [True, False])
def test_instance_errors_are_those_of_segments(streets: Streets, with_masks: bool) -> None:
    record = streets.add("street", draw_street())
    expected = read_ground_truth(record, streets.table)["instances"]
    # Car A twice, car B as a person, the walker cut to its upper third, and a car in the sky.
    walker = (slice(24, 34), slice(100, 110))
    masks = draw(CAR_A[1:], CAR_A[1:], CAR_B[1:], walker, (slice(0, 4), slice(0, 4)))
    found = instances_of(masks, [1, 1, 0, 0, 1], [0.9, 0.8, 0.9, 0.7, 0.6], compact=True)
    if not with_masks:
        found.remove("pred_masks")
    errors = name_instance_errors(expected, found, streets.table)
    assert [error.text for error in errors] == [
        "by mistake: car",
        "wrong class: car taken for person",
        "inexact: person, IoU 0.33",
        "by mistake: car",
    ]
    assert [int(error.draw().sum()) for error in errors] == [600, 320, 300, 16]


@pytest.mark.parametrize("with_masks", [True, False])
def test_detections_on_a_crowd_are_no_errors(streets: Streets, with_masks: bool) -> None:
    crowd = (slice(40, 60), slice(60, 100))
    masks = draw(CAR_A[1:], crowd)
    expected = instances_of(masks, [1, 1], [1.0, 1.0], compact=True)
    expected.is_crowd = torch.tensor([False, True])
    # Car A, one of the crowd, one that 2/5 are on the crowd, and a person in the crowd.
    beside = (slice(40, 60), slice(88, 118))
    found = draw(CAR_A[1:], (slice(44, 54), slice(64, 74)), beside, (slice(44, 54), slice(80, 90)))
    predicted = instances_of(found, [1, 1, 1, 0], [0.9, 0.8, 0.7, 0.6], compact=True)
    if not with_masks:
        predicted.remove("pred_masks")
    errors = name_instance_errors(expected, predicted, streets.table)
    assert [error.text for error in errors] == ["by mistake: car", "by mistake: person"]
    assert [int(error.draw().sum()) for error in errors] == [600, 100]


def test_without_objects_and_detections_there_is_no_error(streets: Streets) -> None:
    record = streets.add("street", draw_street(things=()))
    expected = read_ground_truth(record, streets.table)["instances"]
    nothing = instances_of(np.zeros((0, *SIZE), dtype=bool), [], [], compact=True)
    assert name_instance_errors(expected, nothing, streets.table) == []
