import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_streets import CAR_A, PERSON, SIZE, Streets, draw_street, instances_of, noisy_output, perfect_output
from PIL import Image

pytest.importorskip("cityscapesscripts")

from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling as official

from unified_seg.evaluation.cityscapes_instances import CityscapesInstanceEvaluator
from unified_seg.structures.class_table import ClassTable


def evaluate(streets: Streets, records: list[dict], outputs: list[dict]) -> dict[str, dict[str, float]]:
    return streets.evaluate(CityscapesInstanceEvaluator, records, outputs)


@pytest.mark.parametrize("compact", [False, True])
def test_perfect_predictions_score_100(streets: Streets, compact: bool):
    scenes = [draw_street(), draw_street(things=())]
    records = [streets.add(f"alpha_000000_00000{i}", scene) for i, scene in enumerate(scenes)]
    scores = evaluate(streets, records, [perfect_output(scene, compact) for scene in scenes])
    expected = {"AP", "AP50", "AP-person", "AP50-person", "AP-car", "AP50-car"}
    assert scores == {"cityscapes_instances": dict.fromkeys(expected, pytest.approx(100))}


def test_scores_by_hand(streets: Streets):
    record = streets.add("street", draw_street())
    masks = np.zeros((2, *SIZE), dtype=bool)
    masks[(0, *CAR_A[1:])] = True
    masks[1, 24:46, 100:110] = True
    output = {"instances": instances_of(masks, [1, 0], [0.9, 0.8])}
    # Car: A is detected and B is not: precision 1 at recall 1/2. Cityscapes' steps extend half way to the next recall
    # on either side: width 1/4 at the detection, 1/4 at the artificial point (recall 0, precision 1). So 1/2.
    # Person: 22 of 30 rows, IoU 0.733: a match at 0.50 .. 0.70, none at the 5 other thresholds.
    scores = evaluate(streets, [record], [output])["cityscapes_instances"]
    expected = {"AP-car": 50, "AP-person": 50, "AP": 50, "AP50-car": 50, "AP50-person": 100, "AP50": 75}
    assert scores == pytest.approx(expected)


def test_equals_the_official_script(streets: Streets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The official script finds the files by itself, and gives the same scores."""
    rng = np.random.default_rng(0)
    scenes = [draw_street()] * 6
    records = [streets.add(f"alpha_000000_00000{i}", scene) for i, scene in enumerate(scenes)]
    scores = evaluate(streets, records, [noisy_output(scene, rng) for scene in scenes])["cityscapes_instances"]
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # removed from numpy 2.4
    monkeypatch.setattr(
        official, "writeDict2JSON", lambda *_: None
    )  # a cache, as JSON, which cannot contain numpy 2's integers
    settings = copy.deepcopy(official.args)
    settings.quiet, settings.JSONOutput, settings.gtInstancesFile = True, False, str(tmp_path / "none.json")
    settings.predictionPath = str(streets.folder / "out" / "cityscapes_instances")
    ground_truths = [record["instance_ids_file_name"] for record in records]
    predictions = [official.getPrediction(ground_truth, settings) for ground_truth in ground_truths]
    expected = official.evaluateImgLists(predictions, ground_truths, settings)["averages"]
    assert 5 < scores["AP"] < 95
    assert scores["AP"] == pytest.approx(100 * expected["allAp"])
    assert scores["AP50"] == pytest.approx(100 * expected["allAp50%"])
    assert scores["AP-car"] == pytest.approx(100 * expected["classes"]["car"]["ap"])


def test_process_state_does_not_change(
    streets: Streets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder = tmp_path / "current"
    folder.mkdir()
    monkeypatch.chdir(folder)
    before = copy.deepcopy(vars(official.args))
    had_in1d = hasattr(np, "in1d")
    scene = draw_street()
    evaluate(streets, [streets.add("street", scene)], [perfect_output(scene)])
    assert str(vars(official.args)) == str(before)
    assert official.np is np
    assert hasattr(np, "in1d") == had_in1d
    assert list(folder.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_files_have_the_official_format(streets: Streets):
    scene = draw_street()
    evaluate(streets, [streets.add("city/the street", scene)], [perfect_output(scene)])
    folder = streets.folder / "out" / "cityscapes_instances"
    lines = (folder / "city%2Fthe%20street_pred.txt").read_text().splitlines()
    assert [line.split(" ")[1] for line in lines] == ["24", "26", "26"]  # person, car, car
    for line, segment_id in zip(lines, (24002, 26000, 26001)):
        mask = np.array(Image.open(folder / line.split(" ")[0]).convert("L")) != 0
        assert (mask == (scene.segments == segment_id)).all()


def test_no_detection_scores_0(streets: Streets):
    record = streets.add("street", draw_street())
    output = {"instances": instances_of(np.zeros((0, *SIZE), dtype=bool), [], [])}
    assert evaluate(streets, [record], [output])["cityscapes_instances"]["AP"] == 0


def test_a_class_with_ignored_detections_alone_scores_0(streets: Streets):
    """The only car that is detected is on void, where the official script ends with an IndexError."""
    record = streets.add("street", draw_street())
    masks = np.zeros((2, *SIZE), dtype=bool)
    masks[0, 60:] = True  # void
    masks[1, 24:54, 100:110] = True  # the person
    output = {"instances": instances_of(masks, [1, 0], [0.9, 0.8])}
    scores = evaluate(streets, [record], [output])["cityscapes_instances"]
    assert scores == pytest.approx(
        {"AP-car": 0, "AP-person": 100, "AP": 50, "AP50-car": 0, "AP50-person": 100, "AP50": 50}
    )


def test_scores_without_a_gt_instance_are_nan(streets: Streets):
    # 9 x 11 = 99 pixels: under Cityscapes' limit of 100.
    scene = draw_street(things=((PERSON, slice(40, 49), slice(10, 21)),))
    scores = evaluate(streets, [streets.add("street", scene)], [perfect_output(scene)])["cityscapes_instances"]
    assert {"AP", "AP50", "AP-car"} <= scores.keys()
    assert np.isnan(list(scores.values())).all()


def test_unknown_label_names_the_file(streets: Streets):
    scene = draw_street()
    record = streets.add("street", scene)
    Image.fromarray(np.full(SIZE, 77, dtype=np.uint16)).save(record["instance_ids_file_name"])
    with pytest.raises(ValueError, match=r"street_gtFine_instanceIds.png: cityscapesScripts .*77"):
        evaluate(streets, [record], [perfect_output(scene)])


def test_class_unknown_to_cityscapes_is_an_error(streets: Streets):
    table = ClassTable([replace(c, name="zebra") if c.name == "car" else c for c in streets.table.classes])
    with pytest.raises(ValueError, match=r"Cityscapes.*zebra"):
        CityscapesInstanceEvaluator(table, [streets.add("street", draw_street())], streets.folder / "out")
