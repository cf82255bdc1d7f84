import copy
import io
import math
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panopticapi.evaluation import PQStat, pq_compute_single_core
from panopticapi.utils import id2rgb
from PIL import Image

from unified_seg.ops.metrics.panoptic_quality import (
    PanopticMatches,
    Quality,
    Segment,
    compute_panoptic_scores,
    match_segments,
)

ROAD, CAR = range(2)
IS_THING = np.array([False, True])


def counts(matches: PanopticMatches) -> dict[str, list[float]]:
    return {name: getattr(matches, name).tolist() for name in ("iou", "tp", "fp", "fn")}


def test_matches_and_scores_by_hand():
    # ground truth: void 0, road 7, cars 1 and 2      prediction: road 5, cars 3 and 4
    ground_truth = np.array([[7, 7, 7, 7, 0, 0], [1, 1, 1, 2, 2, 0]])
    prediction = np.array([[5, 5, 5, 3, 3, 4], [3, 3, 5, 5, 5, 4]])
    matches = match_segments(
        ground_truth, [Segment(7, ROAD), Segment(1, CAR), Segment(2, CAR)],
        prediction, [Segment(5, ROAD), Segment(3, CAR), Segment(4, CAR)], 2,
    )  # fmt: skip
    # Road: 3 common pixels; union 4 + 6 - 3 = 7: IoU 3/7, no match: missed, and one too much.
    # Car 3: common with car 1: 2; union 4 + 3 - 2, less its void pixel = 4: IoU 1/2, not above: no match.
    # Car 4: 2 of 2 pixels on void: no error. Cars 1 and 2 are missed.
    assert counts(matches) == {"iou": [0, 0], "tp": [0, 0], "fp": [1, 1], "fn": [1, 2]}
    # One pixel more for car 3: 3 common, union 5 + 3 - 3 - 1 = 4: IoU 3/4. Road: 3 common, union 4 + 5 - 3: IoU 1/2.
    prediction[1, 2] = 3
    matches = match_segments(
        ground_truth, [Segment(7, ROAD), Segment(1, CAR), Segment(2, CAR)],
        prediction, [Segment(5, ROAD), Segment(3, CAR), Segment(4, CAR)], 2,
    )  # fmt: skip
    assert counts(matches) == {"iou": [0, 0.75], "tp": [0, 1], "fp": [1, 0], "fn": [1, 1]}
    scores = compute_panoptic_scores(matches, IS_THING)
    # Car: PQ 0.75 / (1 + 1/2), SQ 0.75, RQ 1 / 1.5. Road: all 0, and it counts.
    assert scores.per_class == [Quality(0, 0, 0), pytest.approx((0.5, 0.75, 2 / 3))]
    assert scores.things == pytest.approx((0.5, 0.75, 2 / 3))
    assert scores.stuff == Quality(0, 0, 0)
    assert scores.all == pytest.approx((0.25, 0.375, 1 / 3))


def test_all_crowds_of_a_class_count():
    """Item 34 of the reliability list. panopticapi keeps the last crowd of a class and calls this car an error."""
    ground_truth = np.array([[1, 1, 1, 2, 2, 2, 7, 7]])
    prediction = np.array([[3, 3, 3, 3, 3, 3, 3, 3]])
    crowds = [Segment(1, CAR, is_crowd=True), Segment(2, CAR, is_crowd=True)]
    # 6 of 8 pixels lie on the two crowds; on either of them alone only 3.
    matches = match_segments(ground_truth, [*crowds, Segment(7, ROAD)], prediction, [Segment(3, CAR)], 2)
    assert counts(matches) == {"iou": [0, 0], "tp": [0, 0], "fp": [0, 0], "fn": [1, 0]}
    # The crowds are of another class than the prediction: no excuse.
    matches = match_segments(ground_truth, [*crowds, Segment(7, ROAD)], prediction, [Segment(3, ROAD)], 2)
    assert counts(matches)["fp"] == [1, 0]


@pytest.mark.parametrize(
    ("segments", "nan"), [([], {"all", "things", "stuff"}), ([CAR], {"stuff"}), ([ROAD], {"things"}), ([0, 1], set())]
)
def test_absent_things_or_stuff_are_nan(segments: list[int], nan: set[str]):
    """Item 32: no stuff, no things, all void."""
    ids = np.array([[0, *range(1, len(segments) + 1)]])
    described = [Segment(i, cls) for i, cls in enumerate(segments, start=1)]
    scores = compute_panoptic_scores(match_segments(ids, described, ids, described, 2), IS_THING)
    for group in ("all", "things", "stuff"):
        quality = getattr(scores, group)
        assert all(math.isnan(value) for value in quality) if group in nan else quality == (1, 1, 1)


class TestErrors:
    """Item 33: segments in the map only or the description only."""

    def matches(self, ground_truth: list[int], true: list[int], prediction: list[int], predicted: list[int]) -> None:
        gt_segments, predicted_segments = ([Segment(i, CAR) for i in ids] for ids in (true, predicted))
        match_segments(np.array([ground_truth]), gt_segments, np.array([prediction]), predicted_segments, 2)

    def test_ids_without_description(self):
        with pytest.raises(ValueError, match=r"ground truth: ids \[5, 9\]"):
            self.matches([0, 1, 5, 9], [1], [0, 1, 1, 0], [1])
        with pytest.raises(ValueError, match=r"prediction: ids \[-1\]"):
            self.matches([0, 1, 0], [1], [0, 1, -1], [1])

    def test_segments_without_pixels(self):
        with pytest.raises(ValueError, match=r"ground truth: segments \[3, 8\]"):
            self.matches([0, 1], [8, 1, 3], [1, 1], [1])
        with pytest.raises(ValueError, match=r"prediction: segments \[2\]"):
            self.matches([0, 1], [1], [1, 1], [1, 2])

    def test_duplicate_segment_ids(self):
        with pytest.raises(ValueError, match=r"prediction: .*unique.* \[1\]"):
            self.matches([0, 1], [1], [0, 1], [1, 1])
        with pytest.raises(ValueError, match=r"ground truth: .*unique.* \[0\]"):
            self.matches([0, 1], [1, 0], [0, 1], [1])

    def test_maps_of_different_sizes(self):
        with pytest.raises(ValueError, match=r"\(1, 3\).*\(1, 2\)"):
            self.matches([0, 1, 1], [1], [0, 1], [1])


@st.composite
def maps(draw: st.DrawFn, seed_map: np.ndarray | None = None) -> np.ndarray:
    """(8, 10) ids 0 .. 6 in blocks, so that segments have some size; or a map with a few blocks drawn over it."""
    ids = np.zeros((8, 10), dtype=np.int64) if seed_map is None else seed_map.copy()
    for _ in range(draw(st.integers(0, 9 if seed_map is None else 3))):
        top, left = draw(st.integers(0, 7)), draw(st.integers(0, 9))
        ids[top : top + draw(st.integers(1, 8)), left : left + draw(st.integers(1, 10))] = draw(st.integers(0, 6))
    return ids


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray, list[Segment], np.ndarray, list[Segment]]:
    """A ground truth with at most one crowd a class (see item 34), and a related prediction."""
    ground_truth = draw(maps())
    prediction = draw(maps(ground_truth)) if draw(st.booleans()) else draw(maps())
    classes = draw(st.lists(st.integers(0, 2), min_size=7, max_size=7))
    crowds: dict[int, int] = {}
    gt_segments = []
    for i in np.unique(ground_truth[ground_truth > 0]).tolist():
        is_crowd = draw(st.booleans()) and crowds.setdefault(classes[i], i) == i
        gt_segments.append(Segment(i * 70001, classes[i], is_crowd))  # ids that need all three bytes
    # A predicted segment mostly has the class of the ground truth that it was drawn from.
    wrong = draw(st.sets(st.integers(1, 6), max_size=2))
    kept = np.unique(prediction[prediction > 0]).tolist()
    predicted_segments = [Segment(i + 5, (classes[i] + (i in wrong)) % 3) for i in kept]
    return ground_truth * 70001, gt_segments, np.where(prediction > 0, prediction + 5, 0), predicted_segments


# isthing in the forms that metadata has it: True, 1, numpy's (item 31).
IS_THING_OF_THREE = np.array([True, False, True])
CATEGORIES: dict[int, dict[str, Any]] = {i: {"id": i, "isthing": flag} for i, flag in enumerate((1, 0, np.True_))}


@given(st.lists(images(), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_equals_panopticapi(tmp_path_factory: pytest.TempPathFactory, drawn: list):
    folder = tmp_path_factory.getbasetemp() / "panopticapi"
    (folder / "ground_truth").mkdir(parents=True, exist_ok=True)
    (folder / "prediction").mkdir(exist_ok=True)
    total, official = PanopticMatches(*np.zeros((4, 3))), PQStat()
    for gt_ids, gt_segments, predicted_ids, predicted_segments in drawn:
        pair = (
            official_annotation(folder / "ground_truth", gt_ids, gt_segments),
            official_annotation(folder / "prediction", predicted_ids, predicted_segments),
        )
        with redirect_stdout(io.StringIO()):
            official += pq_compute_single_core(
                0, [pair], str(folder / "ground_truth"), str(folder / "prediction"), copy.deepcopy(CATEGORIES)
            )
        total += match_segments(gt_ids, gt_segments, predicted_ids, predicted_segments, 3)
    scores = compute_panoptic_scores(total, IS_THING_OF_THREE)
    for group, flag in ((scores.all, None), (scores.things, True), (scores.stuff, False)):
        try:
            expected, per_class = official.pq_average(CATEGORIES, flag)
        except ZeroDivisionError:
            assert all(math.isnan(value) for value in group)
            continue
        assert group == pytest.approx([expected[key] for key in ("pq", "sq", "rq")], abs=1e-9)
        for cls, qualities in per_class.items():
            # The peer has 0 for a class that does not occur.
            assert np.nan_to_num(scores.per_class[cls]) == pytest.approx(list(qualities.values()), abs=1e-9)
    for cls in CATEGORIES:
        of_class = official[cls]
        assert (total.tp[cls], total.fp[cls], total.fn[cls]) == (of_class.tp, of_class.fp, of_class.fn)


def official_annotation(folder: Path, ids: np.ndarray, segments: list[Segment]) -> dict[str, Any]:
    Image.fromarray(id2rgb(ids)).save(folder / "map.png")
    infos = [
        {"id": s.id, "category_id": s.cls, "iscrowd": int(s.is_crowd), "area": int((ids == s.id).sum())}
        for s in segments
    ]
    return {"image_id": 0, "file_name": "map.png", "segments_info": infos}


@given(images(), images())
@settings(max_examples=25, deadline=None)
def test_counts_add_up(first: tuple, second: tuple):
    """Every segment is counted once: true ones as found, missed or crowd, predicted ones as found, wrong or excused."""
    for gt_ids, gt_segments, predicted_ids, predicted_segments in (first, second):
        matches = match_segments(gt_ids, gt_segments, predicted_ids, predicted_segments, 3)
        assert matches.tp.sum() + matches.fn.sum() == sum(not s.is_crowd for s in gt_segments)
        assert matches.tp.sum() + matches.fp.sum() <= len(predicted_segments)
        assert (matches.iou <= matches.tp).all() and (matches.iou >= matches.tp / 2).all()
