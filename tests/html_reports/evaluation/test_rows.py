"""Rows of the page's tables, by hand."""

import math
from typing import Any

import numpy as np
import pytest

from unified_seg.html_reports.evaluation.files import EvaluatedModel, PanopticCounts, SemanticCounts
from unified_seg.html_reports.evaluation.plots import order_by_confusion
from unified_seg.html_reports.evaluation.rows import (
    OUTLINES,
    list_class_rows,
    list_confusions,
    list_scores,
    list_segment_errors,
    list_steps,
)
from unified_seg.ops.metrics.bootstrap import Interval
from unified_seg.ops.metrics.segment_errors import KINDS, MISSED

CONFUSION = np.array([[90, 10, 0], [0, 40, 0], [30, 0, 30]])


def make_model(tasks: dict[str, dict[str, float]], **parts: Any) -> EvaluatedModel:
    return EvaluatedModel("m", tasks, parts.get("semantic"), parts.get("panoptic"), None)


def make_semantic(per_image: np.ndarray | None = None) -> SemanticCounts:
    counts = np.zeros((4, 3, 3), dtype=np.int64) if per_image is None else per_image
    return SemanticCounts(CONFUSION, counts, [*range(len(counts))], ["road", "walk", "sky"])


def test_confusions_are_the_largest_first() -> None:
    rows = list_confusions(make_model({}, semantic=make_semantic()))
    assert [(row["class"], row["taken_for"]) for row in rows] == [("sky", "road"), ("road", "walk")]
    assert rows[0]["of_class"] == 50 and rows[0]["of_wrong"] == 75


def test_confused_classes_are_neighbors() -> None:
    confusion = np.diag([50, 50, 50, 50])
    confusion[0, 2] = confusion[2, 0] = confusion[1, 3] = confusion[3, 1] = 40
    order = order_by_confusion(confusion)
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order.index(0) - order.index(2)) == abs(order.index(1) - order.index(3)) == 1
    assert order_by_confusion(confusion[:2, :2]) == [0, 1]
    assert sorted(order_by_confusion(np.zeros((5, 5)))) == [0, 1, 2, 3, 4]


def test_steps_of_a_model_have_a_gain() -> None:
    tasks = {"sem_seg": {"mIoU": 60.0, "pACC": 90.0}, "sem_seg_unfused": {"mIoU": 58.0}, "segm": {"AP": 30.0}}
    tasks |= {"sem_seg_uncorrected": {"mIoU": 55.0}, "segm_unfused": {"AP": 31.0}}
    rows = [tuple(row.values()) for row in list_steps(make_model(tasks))]
    assert rows == [
        ("mIoU", "fusion", 58, 60, 2),
        ("mIoU", "correction", 55, 60, 5),
        ("mask AP", "fusion", 31, 30, -1),
    ]


def test_scores_that_no_model_has_are_left_out() -> None:
    models = [make_model({"sem_seg": {"mIoU": 60.0}}), make_model({"sem_seg": {"mIoU": math.nan, "pACC": 80.0}})]
    rows = list_scores(models, [{}])
    assert [row.caption for row in rows] == ["mIoU", "pixels right"]
    assert rows[0].intervals == [None] and math.isnan(rows[0].values[1])


def test_interval_of_the_same_model_is_zero() -> None:
    per_image = np.random.default_rng(0).integers(1, 9, (4, 3, 3))
    per_image[:, 0] = 1
    model = make_model({"sem_seg": {"mIoU": 60.0}}, semantic=make_semantic(per_image))
    (row,) = list_scores([model, model], [{}])
    assert row.intervals == [Interval(0, 0, 0)]


def test_errors_of_segments_and_counts_of_classes() -> None:
    errors = np.zeros((len(KINDS), 2, 2), dtype=np.int64)
    errors[KINDS.index(MISSED), 0, 0] = 1
    per_image = np.array([[[0.8, 0.0], [1, 0], [0, 0], [1, 0]]])
    panoptic = PanopticCounts(per_image, ["a"], ["car", "bus"], errors, *[np.zeros(0)] * 3)
    model = make_model({"panoptic_seg": {"PQ-car": 53.3, "PQ-bus": math.nan}}, panoptic=panoptic)
    rows = {row["kind"]: row for row in list_segment_errors([model])}
    assert rows[MISSED]["numbers"] == [[1, 0]] and rows[MISSED]["lost"] == [pytest.approx(100 * (0.8 - 0.8 / 1.5))]
    assert rows[OUTLINES]["lost"] == [pytest.approx(100 * 0.2 / 1.5)]
    columns, classes = list_class_rows([model])
    assert columns == ["PQ", "SQ", "RQ"] and classes[0]["counts"] == [[1, 0, 1]]
    assert list_segment_errors([model, make_model({})]) == []
