"""Kinds of errors, calibration and suspicious labels, by hand."""

import json
import math

import numpy as np
import pytest
from drawn_streets import CAR_A, CAR_B, SIZE, WALKER, Streets, draw_street, instances_of, perfect_output, run

from unified_seg.evaluation.instances import InstanceEvaluator
from unified_seg.evaluation.instances.average_precision import match_instances
from unified_seg.evaluation.instances.diagnosis import count_per_image, diagnose, find_label_errors, inspect_images
from unified_seg.evaluation.instances.objects import Detection, GroundTruthInstance, ImageInstances

NAMES = ["person", "car"]


def an_object(thing_id: int, x: float) -> GroundTruthInstance:
    return GroundTruthInstance(thing_id, (x, 0.0, 20.0, 20.0), 400.0, False, None)


def a_detection(thing_id: int, x: float, score: float) -> Detection:
    return Detection(thing_id, score, [x, 0.0, 20.0, 20.0], None)


@pytest.fixture
def images() -> list[ImageInstances]:
    """Four cars and two persons; a detection of each kind of error but "Both", and a person is missed."""
    found = [
        a_detection(1, 0, 0.95),  # right
        a_detection(1, 0, 0.85),  # duplicate
        a_detection(1, 110, 0.75),  # half of a car is beside it: IoU 1/3
        a_detection(0, 200, 0.65),  # a car as a person
        a_detection(1, 600, 0.55),  # background
        a_detection(1, 300, 0.45),  # right
    ]
    first = ImageInstances([*(an_object(1, 100.0 * i) for i in range(4)), an_object(0, 400)], found, None)
    return [first, ImageInstances([an_object(0, 0)], [a_detection(0, 0, 0.99)], None), ImageInstances([], [], None)]


def test_kinds_of_errors(images: list[ImageInstances]):
    scores, details = diagnose(match_instances(images, "bbox", NAMES), images, NAMES)
    numbers = {kind: each["number"] for kind, each in details["errors"].items()}
    assert numbers == {"Cls": 1, "Loc": 1, "Both": 0, "Dupe": 1, "Bkg": 1, "Miss": 1}
    # Of 101 recall levels: cars have precision 1 at 26, to recall 1/4, and 2/5 at 25, to recall 1/2; persons 1 at 51.
    assert details["AP50"] == pytest.approx(100 * (26 + 25 * 0.4 + 51) / 101 / 2)
    # Without the duplicate 2 of 4 are right at recall 1/2; likewise without the one in the background.
    assert scores["Dupe"] == pytest.approx(100 * 25 * 0.1 / 101 / 2)
    assert scores["Bkg"] == pytest.approx(scores["Dupe"]) and scores["Both"] == 0
    # Without the missed person all persons are found, at precision 1.
    assert scores["Miss"] == pytest.approx(100 * 50 / 101 / 2)


def test_precision_over_recall(images: list[ImageInstances]):
    _, details = diagnose(match_instances(images, "bbox", NAMES), images, NAMES)
    curves = details["precision_recall"]
    assert curves["recall"] == pytest.approx([i / 100 for i in range(101)])
    assert np.mean(curves["AP50"]) == pytest.approx(details["AP50"] / 100)
    # See the numbers above: both classes, then persons alone, of which one of two is found.
    assert curves["AP50"][:26] == [1] * 26 and curves["AP50"][26:51] == [0.7] * 25 and set(curves["AP50"][51:]) == {0}


def test_images_are_counted_with_confident_detections(images: list[ImageInstances]):
    inspected = inspect_images(match_instances(images, "bbox", NAMES))
    # Of the first image the last right detection has a score below 0.5; four detections are wrong.
    assert count_per_image(inspected, images).tolist() == [[1, 4, 4], [1, 0, 0], [0, 0, 0]]


def test_calibration(images: list[ImageInstances]):
    scores, details = diagnose(match_instances(images, "bbox", NAMES), images, NAMES)
    # Two right detections are in one bin, with a mean score of 0.97; five others have bins of their own.
    gaps = [0.03, 0.03, 0.85, 0.75, 0.65, 0.55, 0.55]
    assert scores["ECE"] == pytest.approx(100 * sum(gaps) / 7)
    calibration = details["calibration"]
    assert calibration["detections"] == 7 and calibration["MCE"] == pytest.approx(85)
    assert [each["precision"] for each in calibration["bins"]] == [1, 0, 0, 0, 0, 1]
    assert calibration["ECE_by_class"]["person"] == pytest.approx(100 * (0.65 + 0.01) / 2)


@pytest.mark.parametrize("score", [-0.1, 1.5])
def test_scores_outside_0_to_1_have_no_calibration(images: list[ImageInstances], score: float):
    images[0].detections.append(a_detection(1, 500, score))
    scores, details = diagnose(match_instances(images, "bbox", NAMES), images, NAMES)
    assert math.isnan(scores["ECE"]) and details["calibration"] is None
    assert details["errors"]["Bkg"]["number"] == 2


def test_possible_label_errors(images: list[ImageInstances]):
    records = [{"image_id": name, "file_name": f"{name}.png"} for name in ("first", "second", "third")]
    found = find_label_errors(inspect_images(match_instances(images, "bbox", NAMES)), images, records, NAMES)
    common = {"image_id": "first", "file_name": "first.png"}
    assert found == [
        common
        | {"kind": "wrong_label", "predicted": "person", "labeled": "car", "score": 0.65, "box": [200, 0, 20, 20]},
        common
        | {"kind": "missing_annotation", "predicted": "car", "labeled": None, "score": 0.55, "box": [600, 0, 20, 20]},
    ]


def rectangle(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[rows, columns] = True
    return mask


@pytest.mark.parametrize("with_masks", [True, False])
def test_evaluator_writes_a_file(streets: Streets, with_masks: bool):
    record = streets.add("street", draw_street())
    # Car A exactly, car B as a person, and the person missed.
    masks = np.stack([rectangle(*CAR_A[1:]), rectangle(*CAR_B[1:])])
    output = {"instances": instances_of(masks, [1, 0], [0.9, 0.8])}
    if not with_masks:
        output["instances"].remove("pred_masks")
    evaluator = InstanceEvaluator(streets.table, [record], streets.folder / "out", with_masks)
    task = "segm" if with_masks else "bbox"
    results = run(evaluator, [record], [output])
    assert [name for name in results if name.startswith("errors")] == [f"errors_{task}"]
    assert results[f"errors_{task}"].keys() == {"Cls", "Loc", "Both", "Dupe", "Bkg", "Miss", "ECE"}
    written = json.loads((streets.folder / "out" / "instance_errors.json").read_text())
    assert written["task"] == task and written["errors"]["Cls"]["number"] == 1
    assert written["AP50"] == pytest.approx(results[task]["AP50"])
    (suspect,) = written["possible_label_errors"]
    assert (suspect["image_id"], suspect["predicted"], suspect["labeled"]) == ("street", "person", "car")


def test_perfect_detections_have_no_errors(streets: Streets):
    scene = draw_street()
    record = streets.add("street", scene)
    scores = streets.evaluate(InstanceEvaluator, [record], [perfect_output(scene)])["errors_segm"]
    # Scores of 0.9, 0.8 and 0.7, and all are right.
    assert scores.pop("ECE") == pytest.approx(20) and set(scores.values()) == {0}


def test_without_detections_the_calibration_is_undefined(streets: Streets):
    record = streets.add("street", draw_street())
    output = {"instances": instances_of(np.zeros((0, *SIZE), dtype=bool), [], [])}
    scores = streets.evaluate(InstanceEvaluator, [record], [output])["errors_segm"]
    # In TIDE, a class that is missed altogether gains nothing without its missed objects.
    assert math.isnan(scores["ECE"]) and scores["Miss"] == 0


def test_without_objects_there_is_no_diagnosis(streets: Streets):
    scene = draw_street(things=())
    record = streets.add("street", scene)
    output = {"instances": instances_of(rectangle(*WALKER[1:])[None], [0], [0.9])}
    file = streets.folder / "out" / "instance_errors.json"
    file.parent.mkdir()
    file.write_text("of an earlier evaluation")
    assert streets.evaluate(InstanceEvaluator, [record], [output]).keys() == {"bbox", "segm"}
    assert not file.exists()
