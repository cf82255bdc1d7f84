import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_streets import (
    CAR,
    CAR_A,
    CAR_B,
    METADATA,
    PERSON,
    SIZE,
    SKY,
    WALKER,
    Streets,
    draw_street,
    instances_of,
    run,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.data.coco.panoptic_segments import GroundTruthSegment
from unified_seg.evaluation.recognition import NOT_DETECTED, RecognitionEvaluator, match_detections
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable, SegmentClass

PERSON_ID, CAR_ID = 0, 1  # thing ids


def mask_of(shape: tuple) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[shape[1:]] = True
    return mask


def score(streets: Streets, output: dict, scene=None, threshold: float = 0.5) -> dict[str, float]:
    record = streets.add("street", scene or draw_street())
    evaluator = RecognitionEvaluator(streets.table, [record], streets.folder / "out", threshold)
    return run(evaluator, [record], [output])["recognition"]


def street_output(labels: np.ndarray, masks: list[np.ndarray], classes: list[int], scores: list[float]) -> dict:
    return {"sem_seg_labels": torch.from_numpy(labels), "instances": instances_of(np.stack(masks), classes, scores)}


def test_scores_by_hand(streets: Streets):
    scene = draw_street()
    before = np.where(scene.semantic == 255, SKY, scene.semantic)
    before[30:50, 10:25] = PERSON  # half of car A, 300 of 600 pixels
    before[34:50, 60:80] = PERSON  # all of car B
    after = np.where(scene.semantic == 255, SKY, scene.semantic)
    after[24:54, 100:105] = CAR  # half of the person, 150 of 300 pixels
    unfused = street_output(
        before,
        # Car A is detected as a car and, with a higher score but too little overlap, as a person; the walker is
        # detected as a car; the score of car B's detection is below the threshold.
        [mask_of((0, slice(30, 39), slice(10, 40))), mask_of(CAR_A), mask_of(WALKER), mask_of(CAR_B)],
        [PERSON_ID, CAR_ID, CAR_ID, CAR_ID],
        [0.9, 0.8, 0.5, 0.49],
    )
    # The instances after the fusion are not used.
    output = street_output(after, [mask_of(CAR_B)], [CAR_ID], [0.9]) | {"unfused": unfused}
    scores = score(streets, output)
    expected = {
        "found": 200 / 3,
        # Car A and the walker, 900 pixels, are detected: before the fusion 300 + 300 are correct, after it 600 + 150.
        "pixels": 100 * 600 / 900,
        "pixels_fused": 100 * 750 / 900,
        "boxes": 100 * 600 / 900,
        "found-person": 100,
        "pixels-person": 100,
        "pixels_fused-person": 50,
        "boxes-person": 0,
        "found-car": 50,
        "pixels-car": 50,
        "pixels_fused-car": 100,
        "boxes-car": 100,
    }
    assert {key: value for key, value in scores.items() if not key.endswith("_wide")} == pytest.approx(expected)
    # No object is wider than 128 / 3 pixels.
    assert {key for key, value in scores.items() if math.isnan(value)} == {
        f"{key}_wide" for key in ("found", "pixels", "pixels_fused", "boxes")
    }


def test_wide_objects_have_their_own_scores(streets: Streets):
    wide = (CAR, slice(34, 50), slice(10, 53))  # 43 > 128 / 3 pixels wide
    narrow = (CAR, slice(34, 50), slice(60, 102))  # 42
    scene = draw_street(things=(wide, narrow))
    labels = np.where(scene.semantic == 255, SKY, scene.semantic)
    labels[wide[1:]] = PERSON
    output = street_output(labels, [mask_of(wide), mask_of(narrow)], [CAR_ID, PERSON_ID], [0.9, 0.8])
    scores = score(streets, output, scene)
    wide_scores = {key: scores[f"{key}_wide"] for key in ("found", "pixels", "boxes")}
    assert wide_scores == {"found": 100, "pixels": 0, "boxes": 100}
    # By pixels: 42 of 85 columns.
    assert scores["pixels"] == pytest.approx(100 * 42 / 85)
    assert scores["boxes"] == pytest.approx(100 * 43 / 85)
    assert not any(key.startswith("pixels_fused") for key in scores)


def test_categories_have_their_own_scores(streets: Streets):
    metadata = METADATA | {"class_categories": {"person": "mover", "car": "mover"}}
    streets.table = ClassTable.from_metadata(SimpleNamespace(**metadata))
    scene = draw_street()
    labels = np.where(scene.semantic == 255, SKY, scene.semantic)
    scores = score(streets, street_output(labels, [mask_of(CAR_A)], [PERSON_ID], [0.9]), scene)
    groups = {key: scores[f"{key}_category-mover"] for key in ("found", "pixels", "boxes")}
    assert groups == {"found": pytest.approx(100 / 3), "pixels": 100, "boxes": 0}


def test_crowds_are_left_out(streets: Streets):
    crowd = (CAR, slice(34, 50), slice(60, 100))
    scene = draw_street(things=(CAR_A,), crowd=crowd)
    labels = np.where(scene.semantic == 255, SKY, scene.semantic)
    scores = score(streets, street_output(labels, [mask_of(crowd)], [CAR_ID], [0.9]), scene)
    assert scores["found"] == 0
    assert math.isnan(scores["pixels"])


def test_scores_without_an_object_are_nan(streets: Streets):
    scene = draw_street(things=())
    record = streets.add("street", scene)
    labels = np.where(scene.semantic == 255, SKY, scene.semantic)
    output = street_output(labels, [mask_of(CAR_A)], [CAR_ID], [0.9])
    evaluator = RecognitionEvaluator(streets.table, [record], streets.folder / "out", 0.5)
    scores = run(evaluator, [record], [output])["recognition"]
    assert {"found", "pixels", "boxes-car"} <= scores.keys()
    assert all(math.isnan(score) for score in scores.values())


def test_table_is_logged(streets: Streets, caplog: pytest.LogCaptureFixture):
    scene = draw_street()
    labels = np.where(scene.semantic == 255, SKY, scene.semantic)
    with caplog.at_level(logging.INFO, "unified_seg.evaluation.recognition"):
        score(streets, street_output(labels, [mask_of(CAR_A)], [CAR_ID], [0.9]), scene)
    rows = [line.split() for line in caplog.text.splitlines()]
    assert ["all", "objects", "33.33", "100.00", "100.00"] in rows
    assert ["person", "0.00", "-", "-"] in rows


def test_unknown_label_is_an_error(streets: Streets):
    output = street_output(np.full(SIZE, 9), [mask_of(CAR_A)], [CAR_ID], [0.9])
    with pytest.raises(ValueError, match=r"'street': .*\[9\]"):
        score(streets, output)


def test_unfused_output_of_some_images_is_an_error(streets: Streets):
    scene = draw_street()
    records = [streets.add(f"street_{i}", scene) for i in range(2)]
    labels = np.where(scene.semantic == 255, SKY, scene.semantic)
    output = street_output(labels, [mask_of(CAR_A)], [CAR_ID], [0.9])
    evaluator = RecognitionEvaluator(streets.table, records, streets.folder / "out", 0.5)
    with pytest.raises(ValueError, match=r"'unfused' .*1 of 2"):
        run(evaluator, records, [output | {"unfused": output}, output])


TINY = (6, 8)
CLASSES = [SegmentClass(f"thing {i}", i, i, i + 1, "things", (0, 0, 0)) for i in range(3)]


@st.composite
def tiny_images(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[float], list[int]]:
    """Draw a map of ids 0 .. 3; masks, mostly of its segments with a few changed pixels; scores; and classes."""
    ids = np.zeros(TINY, dtype=np.int32)
    for i in draw(st.permutations([1, 2, 3])):
        top, left = draw(st.integers(0, 3)), draw(st.integers(0, 5))
        ids[top : top + 3, left : left + 3] = i
    masks = []
    for _ in range(draw(st.integers(0, 5))):
        mask = ids == draw(st.integers(0, 3))
        top, left = draw(st.integers(0, 5)), draw(st.integers(0, 7))
        mask[top : top + 2, left : left + 2] ^= True
        masks.append(mask)
    scores = [draw(st.sampled_from([0.2, 0.5, 0.7, 0.9])) for _ in masks]
    return ids, np.array(masks, dtype=bool).reshape(-1, *TINY), scores, [draw(st.integers(0, 2)) for _ in masks]


@given(tiny_images(), st.lists(st.booleans(), min_size=3, max_size=3))
@settings(max_examples=150, deadline=None)
def test_match_detections_equals_plain_code(drawn: tuple, crowds: list[bool]):
    ids, masks, scores, classes = drawn
    segments = []
    for i in np.unique(ids[ids > 0]).tolist():
        segments.append(
            GroundTruthSegment(i, CLASSES[i - 1], crowds[i - 1], int((ids == i).sum()), (slice(0, 6), slice(0, 8)))
        )
    objects = [s for s in segments if not s.is_crowd]
    expected = [NOT_DETECTED] * len(objects)
    for d in sorted(range(len(masks)), key=lambda d: -scores[d]):
        if scores[d] < 0.5:
            continue
        candidates = []
        for m, thing in enumerate(objects):
            iou = ((ids == thing.id) & masks[d]).sum() / ((ids == thing.id) | masks[d]).sum()
            if iou >= 0.5 and expected[m] == NOT_DETECTED:
                candidates.append((-iou, m))
        if candidates:
            expected[min(candidates)[1]] = classes[d]
    detections = SimpleNamespace(
        scores=torch.tensor(scores), pred_classes=classes, pred_masks=BoxMasks.from_full(torch.from_numpy(masks))
    )
    assert match_detections(ids, segments, detections, 0.5).tolist() == expected  # type: ignore[arg-type]
