import copy
import math
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOPanopticEvaluator
from drawn_streets import (
    CAR,
    CAR_A,
    METADATA,
    ROAD,
    SIZE,
    WALKER,
    Streets,
    draw_street,
    noisy_output,
    perfect_output,
    run,
    save_panoptic,
)
from PIL import Image

from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.structures.class_table import ClassTable


def evaluate(streets: Streets, records: list[dict], outputs: list[dict]) -> dict[str, float]:
    return streets.evaluate(PanopticEvaluator, records, outputs)["panoptic_seg"]


def test_perfect_predictions_score_100(streets: Streets):
    scenes = [draw_street(), draw_street(things=())]
    records = [streets.add(f"street_{i}", scene) for i, scene in enumerate(scenes)]
    scores = evaluate(streets, records, [perfect_output(scene) for scene in scenes])
    suffixes = ["", "_th", "_st", "-road", "-sky", "-person", "-car"]
    assert set(scores) == {f"{quality}{suffix}" for quality in ("PQ", "SQ", "RQ") for suffix in suffixes}
    assert all(value == 100 for value in scores.values())


def test_scores_by_hand(streets: Streets):
    scene = draw_street()
    record = streets.add("street", scene)
    ids, infos = perfect_output(scene)["panoptic_seg"]
    ids[60:] = 7  # road goes on over void: void does not count, so road still has IoU 1
    infos = [info | {"category_id": 0} if info["id"] == 26000 else info for info in infos]  # car A is called a person
    ids[30:35, 60:80] = 26001  # car B grows by the 4 rows 30-33: IoU 320 / 400; of road 40, of sky 40 pixels less
    scores = evaluate(streets, [record], [{"panoptic_seg": (ids, infos)}])
    # Person: the walker matches, "car A" is a false positive: PQ 1 / (1 + 1/2). Car: B matches with 0.8, A is missed.
    # Road and sky lose the pixels given to car B: rows 32, 33 of road, rows 30, 31 of sky, 40 pixels each.
    road, sky = (2504 - 40) / 2504, (3956 - 40) / 3956
    expected = {
        "PQ-road": 100 * road,
        "RQ-road": 100,
        "PQ-sky": 100 * sky,
        "PQ-person": 100 / 1.5,
        "SQ-person": 100,
        "PQ-car": 80 / 1.5,
        "SQ-car": 80,
        "RQ-car": 100 / 1.5,
        "PQ_st": 100 * (road + sky) / 2,
        "PQ_th": (100 + 80) / 1.5 / 2,
        "SQ_th": 90,
        "PQ": (100 * road + 100 * sky + 100 / 1.5 + 80 / 1.5) / 4,
        "RQ": (100 + 100 + 100 / 1.5 + 100 / 1.5) / 4,
    }
    assert {key: scores[key] for key in expected} == pytest.approx(expected)


def test_equals_detectron2(streets: Streets):
    rng = np.random.default_rng(0)
    scenes = [draw_street(), draw_street(things=(CAR_A, WALKER), crowd=(CAR, slice(34, 50), slice(60, 90)))] * 6
    records = [streets.add(f"street_{i}", scene) for i, scene in enumerate(scenes)]
    outputs = [noisy_output(scene, rng) for scene in scenes]
    scores = evaluate(streets, records, copy.deepcopy(outputs))
    name = "drawn_streets_panoptic"
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(
        **METADATA, panoptic_json=str(streets.write_panoptic_json()), panoptic_root=str(streets.folder)
    )
    try:
        evaluator = COCOPanopticEvaluator(name, str(streets.folder / "peer"))
        evaluator.reset()
        evaluator.process(records, outputs)
        expected = evaluator.evaluate()["panoptic_seg"]
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    assert 10 < scores["PQ"] < 90
    assert {key: scores[key] for key in expected} == pytest.approx(expected, abs=1e-9)


def test_same_base_name_in_two_folders_is_scored(streets: Streets):
    """Item 30: items of images are identified by image id."""
    scenes = [draw_street(), draw_street(things=(WALKER,))]
    records = [streets.add(f"city_{i}/street", scene, city=f"city_{i}") for i, scene in enumerate(scenes)]
    assert evaluate(streets, records, [perfect_output(scene) for scene in scenes])["PQ"] == 100


def test_kinds_of_errors_and_sizes_are_written(streets: Streets):
    scene = draw_street()
    record = streets.add("street", scene)
    ids, infos = perfect_output(scene)["panoptic_seg"]
    infos = [info | {"category_id": 0} if info["id"] == 26000 else info for info in infos]  # car A is called a person
    evaluate(streets, [record], [{"panoptic_seg": (ids, infos)}])
    written = np.load(streets.folder / "out/segments.npz")
    errors = dict(zip(written["kinds"].tolist(), written["errors"].tolist()))
    # False negatives and false positives of road, sky, person, car.
    assert errors.pop("wrong class") == [[0, 0, 0, 1], [0, 0, 1, 0]]
    assert not np.any(list(errors.values())) and written["errors_per_image"].tolist() == [[2, 0, 0, 0, 0, 0]]
    sizes = dict(zip(written["areas"].tolist(), written["iou"].tolist()))
    assert sizes == {2504: 1, 3956: 1, 300: 1, 600: 0, 320: 1}
    assert written["classes"][written["areas"].tolist().index(600)] == CAR


def test_writes_its_counts_alone_and_starts_no_process(
    streets: Streets, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Item 35: panopticapi's pq_compute starts a process per core, and waits forever if one dies."""
    monkeypatch.setattr(multiprocessing.Process, "start", lambda *_: pytest.fail("a process is started"))
    scene = draw_street()
    before = sorted(streets.folder.rglob("*.*"))
    record = streets.add("street", scene)
    written_by_the_test = {Path(record[key]) for key in record if key.endswith("_file_name")}
    evaluate(streets, [record], [perfect_output(scene)])
    counts = {streets.folder / "out" / name for name in ("panoptic_seg.npz", "segments.npz")}
    assert set(streets.folder.rglob("*.*")) - set(before) == written_by_the_test | counts
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("flag", [1, np.True_, True])
def test_isthing_may_have_any_type(streets: Streets, flag: object):
    """Item 31."""
    scene = draw_street()
    record = streets.add("street", scene)
    output = perfect_output(scene)
    for infos in (record["segments_info"], output["panoptic_seg"][1]):
        for info in infos:
            info["isthing"] = flag if info["isthing"] else type(flag)(0)
    scores = evaluate(streets, [record], [output])
    assert (scores["PQ"], scores["PQ_th"], scores["PQ_st"]) == (100, 100, 100)


@pytest.mark.parametrize("wrong", [1, 10**6])
def test_areas_are_counted_from_the_map(streets: Streets, wrong: int):
    """Item 29: by the JSON's area, PQ could be 200."""
    scene = draw_street()
    record = streets.add("street", scene)
    record["segments_info"] = [info | {"area": wrong} for info in record["segments_info"]]
    assert evaluate(streets, [record], [perfect_output(scene)])["PQ"] == 100


def of_kind(streets: Streets, things: bool) -> tuple[ClassTable, dict, dict]:
    """Return table, record and output of a data set of only things, or only stuff; the rest is void."""
    scene = draw_street()
    record = streets.add("street", scene)
    kept = [c for c in streets.table.classes if c.is_thing == things]
    table = ClassTable([replace(c, semantic_id=i) for i, c in enumerate(kept)])
    ids, infos = perfect_output(scene)["panoptic_seg"]
    infos = [info for info in infos if info["isthing"] == things]
    ids[~torch.isin(ids, torch.tensor([info["id"] for info in infos]))] = 0
    save_panoptic(Path(record["pan_seg_file_name"]), ids.numpy())
    record["segments_info"] = infos
    return table, record, {"panoptic_seg": (ids, infos)}


@pytest.mark.parametrize(("things", "present", "absent"), [(True, "PQ_th", "PQ_st"), (False, "PQ_st", "PQ_th")])
def test_things_or_stuff_alone_are_scored(streets: Streets, things: bool, present: str, absent: str):
    """Item 32."""
    table, record, output = of_kind(streets, things)
    scores = run(PanopticEvaluator(table, [record], streets.folder / "out"), [record], [output])["panoptic_seg"]
    assert (scores["PQ"], scores[present]) == (100, 100)
    assert math.isnan(scores[absent])


def test_class_that_does_not_occur_is_nan(streets: Streets):
    scene = draw_street(things=())
    scores = evaluate(streets, [streets.add("street", scene)], [perfect_output(scene)])
    assert scores["PQ"] == 100
    assert all(math.isnan(scores[key]) for key in ("PQ-car", "PQ-person", "PQ_th"))


def test_all_crowds_of_a_class_count(streets: Streets):
    """Item 34: a prediction on two groups of cars is no false positive, as it would be with only the last group."""
    groups = [(CAR, slice(34, 50), slice(60, 80)), (CAR, slice(34, 50), slice(80, 100))]
    scene = draw_street(things=(CAR_A, *groups))
    scene.crowds |= {26001, 26002}
    record = streets.add("street", scene)
    ids, infos = perfect_output(scene)["panoptic_seg"]
    ids[34:50, 60:100] = 26001
    scores = evaluate(streets, [record], [{"panoptic_seg": (ids, infos[:-1])}])
    assert (scores["PQ-car"], scores["PQ"]) == (100, 100)


def test_ground_truth_is_not_cached(streets: Streets):
    """Item 38: the ground truth is changed between two evaluations of one evaluator."""
    output = perfect_output(draw_street())
    record = streets.add("street", draw_street())
    evaluator = PanopticEvaluator(streets.table, [record], streets.folder / "out")
    assert run(evaluator, [record], [output])["panoptic_seg"]["PQ-car"] == 100
    # Both cars become one.
    record["segments_info"] = [info for info in record["segments_info"] if info["id"] != 26000]
    ids = draw_street().segments
    save_panoptic(Path(record["pan_seg_file_name"]), np.where(ids == 26000, 26001, ids))
    # The true car has 600 + 320 pixels, predicted car A 600 of them: IoU 600 / 920. Car B is an error: 0.652 / 1.5.
    assert run(evaluator, [record], [output])["panoptic_seg"]["PQ-car"] == pytest.approx(100 * 600 / 920 / 1.5)


def test_counts_of_each_image_are_written(streets: Streets):
    records = [streets.add(name, draw_street()) for name in ("first", "second")]
    evaluator = PanopticEvaluator(streets.table, records, streets.folder / "out")
    run(evaluator, records, [perfect_output(draw_street())] * 2)
    with np.load(streets.folder / "out/panoptic_seg.npz") as file:
        assert file["image_ids"].tolist() == [record["image_id"] for record in records]
        iou, tp, fp, fn = file["per_image"].sum(axis=0)
        # Two cars in each of two images.
        assert (iou[file["class_names"] == "car"], tp.sum()) == (4, iou.sum()) and not fp.any() and not fn.any()


def test_quality_above_100_is_an_error(streets: Streets):
    record = streets.add("street", draw_street())
    evaluator = PanopticEvaluator(streets.table, [record], streets.folder / "out")
    item = evaluator.score_image(record, perfect_output(draw_street()))
    doubled = item._replace(matches=replace(item.matches, iou=2 * item.matches.iou))
    with pytest.raises(ValueError, match=r"in \[0, 100\]"):
        evaluator.summarize({"street": doubled})


def test_scores_of_void_alone_are_nan(streets: Streets):
    record = streets.add("street", draw_street())
    save_panoptic(Path(record["pan_seg_file_name"]), np.zeros(SIZE, dtype=int))
    record["segments_info"] = []
    scores = evaluate(streets, [record], [perfect_output(draw_street())])
    assert {"PQ", "PQ_th", "SQ-car"} <= scores.keys()
    assert np.isnan(list(scores.values())).all()


class TestErrors:
    @pytest.fixture
    def record(self, streets: Streets) -> dict:
        return streets.add("street", draw_street())

    @pytest.fixture
    def output(self) -> dict:
        return perfect_output(draw_street())

    def test_gt_segment_without_description(self, streets: Streets, record: dict, output: dict):
        record["segments_info"] = [info for info in record["segments_info"] if info["id"] != 26000]
        with pytest.raises(ValueError, match=r"street_gtFine_panoptic\.png: .*26000"):
            evaluate(streets, [record], [output])

    def test_gt_description_without_pixels(self, streets: Streets, record: dict, output: dict):
        record["segments_info"].append({"id": 5, "category_id": ROAD, "isthing": False, "iscrowd": 0})
        with pytest.raises(ValueError, match=r"street_gtFine_panoptic\.png: .*\b5\b"):
            evaluate(streets, [record], [output])

    def test_unknown_gt_class(self, streets: Streets, record: dict, output: dict):
        record["segments_info"][-1]["category_id"] = 9
        with pytest.raises(ValueError, match=r"panoptic\.png: segment 26001: .*category_id 9"):
            evaluate(streets, [record], [output])

    def test_unknown_predicted_class(self, streets: Streets, record: dict, output: dict):
        output["panoptic_seg"][1][-1]["category_id"] = 9
        with pytest.raises(ValueError, match=r"'street': predicted segment 26001: .*category_id 9"):
            evaluate(streets, [record], [output])

    def test_predicted_segment_without_description(self, streets: Streets, record: dict, output: dict):
        del output["panoptic_seg"][1][-1]
        with pytest.raises(ValueError, match=r"street_gtFine_panoptic\.png and its prediction: .*\[26001\]"):
            evaluate(streets, [record], [output])

    def test_predicted_description_without_pixels(self, streets: Streets, record: dict, output: dict):
        output["panoptic_seg"][1].append({"id": 5, "category_id": ROAD, "isthing": False})
        with pytest.raises(ValueError, match=r"prediction: segments \[5\]"):
            evaluate(streets, [record], [output])

    def test_predicted_map_of_another_size(self, streets: Streets, record: dict, output: dict):
        ids, infos = output["panoptic_seg"]
        with pytest.raises(ValueError, match=r"'street': panoptic map of \(128, 64\).*\(64, 128\)"):
            evaluate(streets, [record], [{"panoptic_seg": (ids.T, infos)}])

    def test_ground_truth_of_another_size(self, streets: Streets, record: dict, output: dict):
        Image.open(record["pan_seg_file_name"]).transpose(Image.Transpose.ROTATE_90).save(record["pan_seg_file_name"])
        with pytest.raises(ValueError, match=r"panoptic\.png: .*128x64"):
            evaluate(streets, [record], [output])

    def test_record_without_segments_info(self, streets: Streets, record: dict, output: dict):
        del record["segments_info"]
        with pytest.raises(ValueError, match=r"panoptic\.png: .*segments_info"):
            evaluate(streets, [record], [output])

    def test_missing_file(self, streets: Streets, record: dict):
        """Item 40: before anything is scored."""
        Path(record["pan_seg_file_name"]).unlink()
        with pytest.raises(ValueError, match=r"street\.png: .*street_gtFine_panoptic\.png .*1 of 1"):
            PanopticEvaluator(streets.table, [record], streets.folder / "out")

    def test_predicted_map_without_segments_info(self, streets: Streets, record: dict, output: dict):
        with pytest.raises(ValueError, match=r"'street': .*segments_info"):
            evaluate(streets, [record], [{"panoptic_seg": (output["panoptic_seg"][0], None)}])
