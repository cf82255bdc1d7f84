"""Scores of images, and the choice of those that a page shows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unified_seg.html_reports.evaluation.files import EvaluatedModel, PanopticCounts, SemanticCounts
from unified_seg.html_reports.evaluation.image_scores import (
    NUM_SHOWN,
    choose_changes,
    choose_images,
    find_main,
    rank_images,
    score_images,
)


def test_scores_by_hand() -> None:
    # Two classes. First image: 1 of 2 segments of class 0 with IoU 0.8, class 1 by mistake; the second has none.
    segments = np.zeros((2, 4, 2))
    segments[0] = [[0.8, 0], [1, 0], [0, 1], [1, 0]]
    panoptic = PanopticCounts(segments, ["a", "b"], ["x", "y"], *[np.zeros(0)] * 4)
    # Class 1 has no pixel in the first image; the second is void.
    pixels = np.zeros((2, 3, 2), dtype=np.int64)
    pixels[0] = [[6, 0], [8, 0], [6, 2]]
    semantic = SemanticCounts(np.zeros((2, 2)), pixels, ["a", "b"], ["x", "y"])
    columns = score_images(EvaluatedModel("m", {}, semantic, panoptic, None))
    assert columns["PQ"]["a"] == pytest.approx(100 * 0.8 / 2)
    assert (columns["segments found"]["a"], columns["missed"]["a"], columns["wrong"]["a"]) == (1, 1, 1)
    assert columns["mIoU"]["a"] == pytest.approx(100 * (6 / 8 + 0) / 2) and columns["pixels right"]["a"] == 75
    assert all(np.isnan(columns[caption]["b"]) for caption in ("PQ", "mIoU", "pixels right"))
    assert rank_images(columns, "PQ") == {"a": columns["PQ"]["a"]}


def test_models_are_ranked_by_what_all_have() -> None:
    assert find_main([{"PQ": {}, "mIoU": {}}, {"mIoU": {}}]) == "mIoU"
    assert find_main([{"PQ": {}}, {"F1 of objects": {}}]) == ""


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_worst_median_and_best_are_different_images(scores: list[float]) -> None:
    ranking = dict(sorted(enumerate(scores), key=lambda item: item[1]))
    chosen = choose_images(ranking)
    ids = [i for group in chosen.values() for i in group]
    assert len(ids) == len(set(ids)) == min(len(scores), 3 * NUM_SHOWN)
    assert [scores[i] for i in chosen["worst"]] == sorted(scores)[: len(chosen["worst"])]
    best = chosen.get("best", [])
    assert [scores[i] for i in best] == sorted(scores, reverse=True)[: len(best)]


def test_changes_are_losses_and_gains() -> None:
    before = {"a": 50.0, "b": 50.0, "c": 50.0}
    chosen, changes = choose_changes(before, {"a": 40.0, "b": 70.0, "c": 50.0})
    assert chosen == {"loss": ["a"], "gain": ["b"]} and list(changes.items()) == [("a", -10), ("c", 0), ("b", 20)]
