"""An evaluator that fails, or a score that is undefined, leaves all others as they are."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_streets import CAR_A, SIZE, WALKER, Streets, draw_street, perfect_output, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from unified_seg.data.problems import DataError
from unified_seg.evaluation import IndependentEvaluators, describe_undefined, format_results, save_results
from unified_seg.evaluation.export import CocoPanopticExporter
from unified_seg.evaluation.instances import InstanceEvaluator, InstanceExporter
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.evaluation.recognition import RecognitionEvaluator
from unified_seg.evaluation.semantic import SemanticEvaluator

KINDS = (
    SemanticEvaluator,
    InstanceEvaluator,
    PanopticEvaluator,
    lambda *args: RecognitionEvaluator(*args, score_threshold=0.2),
)


class FailingEvaluator(SemanticEvaluator):
    """An evaluator that fails at one of its steps."""

    step = "score_image"

    def score_image(self, record: dict, output: Any) -> Any:
        if self.step == "score_image":
            raise DataError("labels.png: damaged")
        return super().score_image(record, output)

    def summarize(self, items: dict) -> Any:
        raise MemoryError("too large")


@pytest.mark.parametrize("step", ["score_image", "summarize"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_failing_evaluator_leaves_the_others(
    streets: Streets, step: str, place: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(FailingEvaluator, "step", step)
    record = streets.add("street", draw_street())
    kinds = [CocoPanopticExporter, InstanceEvaluator]
    kinds.insert(place, FailingEvaluator)
    evaluators = IndependentEvaluators([kind(streets.table, [record], streets.folder / "out") for kind in kinds])
    results = run(evaluators, [record], [perfect_output(draw_street())])
    assert results["segm"]["AP"] == pytest.approx(100)
    assert "sem_seg" not in results
    assert (streets.folder / "out/panoptic/predictions.json").is_file()
    assert len(evaluators.failures) == 1
    assert "FailingEvaluator: " in evaluators.failures[0]
    assert sum("FailingEvaluator" in record.message for record in caplog.records) == 1
    assert any("FailingEvaluator" in note for note in evaluators.notes)


def test_next_evaluation_starts_anew(streets: Streets, monkeypatch: pytest.MonkeyPatch):
    record = streets.add("street", draw_street())
    evaluators = IndependentEvaluators([SemanticEvaluator(streets.table, [record], streets.folder / "out")])
    output = perfect_output(draw_street())
    assert run(evaluators, [record], [{}]) == {}
    assert evaluators.failures
    assert run(evaluators, [record], [output])["sem_seg"]["mIoU"] == 100
    assert evaluators.failures == []


SCENES = {
    "all": draw_street(),
    "no thing": draw_street(things=()),
    "crowds only": draw_street(things=(), crowd=CAR_A),
    "one class": draw_street(things=(WALKER,)),
}


@given(names=st.lists(st.sampled_from(sorted(SCENES)), min_size=1, max_size=3), void=st.sets(st.integers(0, 2)),
       silent=st.booleans())  # fmt: skip
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ground_truth_gives_all_scores_or_nan(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], void: set[int], silent: bool
):
    """Each score is in [0, 100] or NaN, all names are there, and the file is strict JSON."""
    folder = tmp_path_factory.mktemp("drawn")
    streets, outputs = Streets(folder), []
    for index, name in enumerate(names):
        scene = draw_street() if index in void else SCENES[name]
        if index in void:
            scene.semantic[:], scene.segments[:] = 255, 0
        streets.add(f"street_{index}", scene)
        outputs.append(perfect_output(draw_street(things=() if silent else (CAR_A,))))
    evaluators = IndependentEvaluators([kind(streets.table, streets.records, folder / "out") for kind in KINDS])
    results = run(evaluators, streets.records, outputs)
    assert evaluators.failures == []
    has_object = any(name in ("all", "one class") for index, name in enumerate(names) if index not in void)
    errors = ["errors_segm"] if has_object else []
    assert list(results) == ["sem_seg", "bbox", "segm", *errors, "panoptic_seg", "recognition"]
    for task, metric in (("sem_seg", "mIoU"), ("segm", "APs"), ("panoptic_seg", "PQ_th"), ("recognition", "found-car")):
        assert metric in results[task]
    values = np.array([value for scores in results.values() for value in scores.values()])
    assert (np.isnan(values) | ((values >= 0) & (values <= 100 + 1e-9))).all()
    assert math.isnan(results["segm"]["AP"]) != has_object
    assert math.isnan(results["sem_seg"]["mIoU"]) == (set(range(len(names))) <= void)
    saved = save_results(folder / "results.json", {"streets": results}, eval_s=1, weights="")
    text = (folder / "results.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == saved


def test_undefined_scores_are_named_in_the_table():
    results = {"empty": {"segm": {"AP": math.nan, "AP50": math.nan}, "sem_seg": {"mIoU": 50.0, "IoU-car": math.nan}}}
    undefined = describe_undefined(results["empty"])
    assert all(name in undefined for name in ("segm AP, AP50", "sem_seg IoU-car"))
    table = format_results(results, {"empty": [undefined]})
    assert table.splitlines()[2].split() == ["empty", "50.00", "NaN", "NaN"]
    assert f"empty: {undefined}" in table
    assert describe_undefined({"segm": {"AP": 1.0}}) == ""


class TestDetectionLimit:
    """300 cells of 2 x 3 pixels, all detected exactly."""

    @pytest.fixture
    def cells(self, tmp_path: Path) -> tuple[Streets, dict, dict]:
        streets = Streets(tmp_path)
        boxes = [(4 * y, 5 * x) for y in range(15) for x in range(20)]
        things = tuple((WALKER[0], slice(y, y + 2), slice(x, x + 3)) for y, x in boxes)
        assert max(things[-1][1].stop, 60) <= SIZE[0]
        scene = draw_street(things=things)
        record = streets.add("cells", scene)
        output = perfect_output(scene)
        output["instances"].scores = torch.linspace(0.9, 0.1, 300)
        return streets, record, output

    @pytest.mark.parametrize(("limit", "expected"), [(300, 100.0), (-1, 100.0), (1000, 100.0), (100, 33.66)])
    def test_limit_is_that_of_the_config(
        self, cells: tuple[Streets, dict, dict], limit: int, expected: float, caplog: pytest.LogCaptureFixture
    ):
        streets, record, output = cells
        evaluator = InstanceEvaluator(streets.table, [record], streets.folder / "out", max_detections=limit)
        scores = run(evaluator, [record], [output])
        assert scores["segm"]["AP"] == pytest.approx(expected, abs=0.01)
        assert str(300 if limit == -1 else limit) in evaluator.notes[0]
        assert any("`TEST.DETECTIONS_PER_IMAGE 300`" in each.message for each in caplog.records) == (limit == 100)

    def test_limit_below_ten_counts_the_best(self, cells: tuple[Streets, dict, dict]):
        streets, record, output = cells
        evaluator = InstanceEvaluator(streets.table, [record], streets.folder / "out", max_detections=3)
        # Recall 1 % is reached at the first two of COCO's 101 recalls, 0 and 0.01.
        assert run(evaluator, [record], [output])["segm"]["AP"] == pytest.approx(200 / 101)


def test_exporter_of_instances_is_read_by_pycocotools(streets: Streets):
    scene = draw_street()
    record = {key: streets.add("street", scene)[key] for key in ("file_name", "image_id", "height", "width")}
    assert run(InstanceExporter(streets.table, [record], streets.folder), [record], [perfect_output(scene)]) == {}
    found = COCO(str(streets.folder / "coco_images.json")).loadRes(str(streets.folder / "coco_instances_results.json"))
    assert sorted(found.getCatIds()) == sorted(c.dataset_id for c in streets.table.things)
    masks = [found.annToMask(annotation) for annotation in found.dataset["annotations"]]
    assert sorted(int(mask.sum()) for mask in masks) == sorted(
        int((scene.segments == i).sum()) for i in scene.instance_ids()
    )
