"""Scores of a correction, by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from drawn_streets import IGNORE, ROAD, SKY, Streets, record_of, run

from unified_seg.heads import ErrorCorrectionHead
from unified_seg.heads.error_correction.correction_evaluator import CorrectionEvaluator, format_correction
from unified_seg.structures.logit_map import LogitMap

# Each pixel: its true label, the labels before and after the correction, and its error probability.
PIXELS = [
    (SKY, ROAD, SKY, 0.9),  # fixed
    (SKY, ROAD, SKY, 0.8),  # fixed
    (SKY, SKY, ROAD, 0.8),  # broken
    (ROAD, ROAD, ROAD, 0.75),
    (ROAD, SKY, SKY, 0.95),
    (ROAD, ROAD, ROAD, 0.6),
    (SKY, ROAD, ROAD, 0.1),
    (IGNORE, ROAD, SKY, 0.9),
]


def column(index: int) -> np.ndarray:
    return np.array([pixel[index] for pixel in PIXELS]).reshape(2, 4)


def make_output(**outputs: Any) -> dict[str, Any]:
    before = torch.nn.functional.one_hot(torch.from_numpy(column(1)), 4).movedim(-1, 0) * 9.0
    error = torch.from_numpy(column(3)).float().logit()[None]
    maps = {"uncorrected": before, "error": error}
    return {
        "sem_seg_labels": torch.from_numpy(column(2)),
        "semantic_logit_maps": {name: LogitMap.from_logits(logits, 1, (2, 4)) for name, logits in maps.items()},
        **outputs,
    }


@pytest.fixture
def record(streets: Streets) -> dict[str, Any]:
    return record_of(streets.folder, column(0))


@pytest.fixture
def evaluator(streets: Streets, record: dict[str, Any]) -> CorrectionEvaluator:
    return CorrectionEvaluator(streets.table, [record], streets.folder, threshold=0.7)


def test_scores_match_hand_computed_ones(evaluator: CorrectionEvaluator, record: dict[str, Any]) -> None:
    scores = run(evaluator, [record], [make_output()])["correction"]
    # Of 7 valid pixels 5 are marked: 2 of them were right, 3 are. 2 are fixed, 1 is broken.
    expected = {"marked": 5 / 7, "accuracy_before": 2 / 5, "accuracy_after": 3 / 5, "fixed": 2 / 7, "broken": 1 / 7}
    assert scores == pytest.approx({name: 100 * share for name, share in expected.items()})
    assert format_correction(scores) == (
        "correction: 71.43 % of the pixels are marked as wrong; of these 40.00 % are right before, 60.00 % after it\n"
        "of all pixels it fixes 28.57 % and breaks 14.29 %"
    )
    reported = ErrorCorrectionHead.ablation_metrics.values()
    assert {task for task, _, _ in reported} == {"errors", "correction"}
    assert {metric for task, metric, _ in reported if task == "correction"} <= scores.keys()


def test_a_fusion_after_the_correction_does_not_count(evaluator: CorrectionEvaluator, record: dict[str, Any]) -> None:
    output = make_output()
    fused = make_output(sem_seg_labels=torch.full((2, 4), SKY), unfused={"sem_seg_labels": output["sem_seg_labels"]})
    assert run(evaluator, [record], [fused]) == run(evaluator, [record], [output])


def test_nothing_marked_has_no_accuracy(streets: Streets, record: dict[str, Any]) -> None:
    evaluator = CorrectionEvaluator(streets.table, [record], streets.folder, threshold=0.99)
    scores = run(evaluator, [record], [make_output()])["correction"]
    assert scores["marked"] == 0 and math.isnan(scores["accuracy_before"]) and math.isnan(scores["accuracy_after"])


def test_outputs_without_maps_give_no_scores(evaluator: CorrectionEvaluator, record: dict[str, Any]) -> None:
    assert run(evaluator, [record], [{"sem_seg_labels": torch.zeros(2, 4)}]) == {}
