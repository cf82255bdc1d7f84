import json
import math

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from drawn_streets import (
    CAR,
    CAR_A,
    CAR_B,
    METADATA,
    SIZE,
    WALKER,
    Streets,
    annotations_of,
    draw_street,
    instances_of,
    noisy_output,
    perfect_output,
    run,
)
from pycocotools import mask as mask_util

from unified_seg.evaluation.instances import InstanceEvaluator

# Every other column: 880 pixels, small to COCO, in a box of 40 x 43, which is medium.
COMB = (CAR, slice(10, 50), slice(12, 56, 2))
METRICS = {"AP", "AP50", "AP75", "APs", "APm", "APl", "AP-person", "AP-car"}


def rectangle(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[rows, columns] = True
    return mask


@pytest.mark.parametrize("compact", [False, True])
def test_perfect_predictions_score_100(streets: Streets, compact: bool):
    scenes = [draw_street(), draw_street(things=()), draw_street(things=(CAR_A,))]
    records = [streets.add(f"street_{i}", scene) for i, scene in enumerate(scenes)]
    evaluator = InstanceEvaluator(streets.table, records, streets.folder / "out")
    scores = run(evaluator, records, [perfect_output(scene, compact) for scene in scenes])
    assert set(scores) == {"bbox", "segm", "errors_segm"}
    for task in (scores["bbox"], scores["segm"]):
        assert set(task) == METRICS
        assert all(task[key] == pytest.approx(100) for key in ("AP", "AP50", "AP75", "APs", "AP-person", "AP-car"))
        # All instances are smaller than 32 x 32 pixels, so "medium" and "large" have no ground truth.
        assert math.isnan(task["APm"])
        assert math.isnan(task["APl"])


def test_scores_by_hand(streets: Streets):
    record = streets.add("street", draw_street())
    # Car A exactly, car B missed, and of the person the upper 22 of 30 rows: intersection over union 0.733, of boxes
    # as of masks.
    masks = np.stack([rectangle(*CAR_A[1:]), rectangle(slice(24, 46), slice(100, 110))])
    output = {"instances": instances_of(masks, [1, 0], [0.9, 0.8])}
    scores = streets.evaluate(InstanceEvaluator, [record], [output])
    # Car: precision 1 up to recall 1/2, which is 51 of COCO's 101 recall levels, at each of the 10 thresholds.
    # Person: right at the thresholds 0.50, 0.55, 0.60, 0.65 and 0.70, wrong at the 5 others.
    car, person = 100 * 51 / 101, 50
    for task in ("bbox", "segm"):
        expected = {
            "AP-car": car,
            "AP-person": person,
            "AP": (car + person) / 2,
            "APs": (car + person) / 2,
            "AP50": (car + 100) / 2,
            "AP75": car / 2,
        }
        assert {key: scores[task][key] for key in expected} == pytest.approx(expected)


def test_detection_inside_a_crowd_is_no_false_positive(streets: Streets):
    crowd = (CAR, slice(30, 54), slice(60, 100))  # 960 pixels, of which car B has a third
    scene = draw_street(things=(CAR_A, WALKER), crowd=crowd)
    record = streets.add("street", scene)
    masks = np.stack([rectangle(*CAR_B[1:]), rectangle(*CAR_A[1:])])
    output = {"instances": instances_of(masks, [1, 1], [0.9, 0.8])}
    evaluator = InstanceEvaluator(streets.table, [record], streets.folder / "out")
    scores = run(evaluator, [record], [output])["segm"]
    assert scores["AP-car"] == pytest.approx(100)
    # The same without the flag: the first detection is wrong, the second finds 1 of 2: precision 1/2 to recall 1/2.
    record["segments_info"] = [info | {"iscrowd": 0} for info in record["segments_info"]]
    assert run(evaluator, [record], [output])["segm"]["AP-car"] == pytest.approx(100 * 51 / 101 / 2)


@pytest.mark.parametrize("first_id", [0, 7])
def test_ids_of_annotations_do_not_matter(streets: Streets, first_id: int):
    """Item 37: for pycocotools id 0 means no match, and makes a perfect detection a false positive."""
    scene = draw_street((CAR_A,))
    annotations = [{**annotation, "id": first_id + i} for i, annotation in enumerate(annotations_of(scene))]
    record = {**streets.add("street", scene), "annotations": annotations}
    evaluator = InstanceEvaluator(streets.table, [record], streets.folder / "out")
    assert run(evaluator, [record], [perfect_output(scene)])["segm"]["AP"] == pytest.approx(100)


@pytest.mark.parametrize("seed", range(3))
def test_equals_detectron2(streets: Streets, seed: int):
    rng = np.random.default_rng(seed)
    crowd = (CAR, slice(34, 50), slice(60, 90))
    scenes = [draw_street(), draw_street((CAR_A, WALKER), crowd), draw_street((COMB, CAR_B))] * 3
    records = [streets.add(f"street_{i}", scene) for i, scene in enumerate(scenes)]
    outputs = [noisy_output(scene, rng) for scene in scenes]
    scores = streets.evaluate(InstanceEvaluator, records, outputs)
    name = f"drawn_streets_instances_{seed}"
    DatasetCatalog.register(
        name, lambda: [r | {"annotations": annotations_of(scene)} for r, scene in zip(records, scenes)]
    )
    MetadataCatalog.get(name).set(**METADATA)
    try:
        evaluator = COCOEvaluator(name, ("bbox", "segm"), distributed=False, output_dir=str(streets.folder / "peer"))
        expected = run(evaluator, records, outputs)
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    assert 5 < scores["segm"]["AP"] < 95
    for task in ("bbox", "segm"):
        assert scores[task] == pytest.approx(dict(expected[task]), nan_ok=True)
    # The result files are equal too.
    written = [json.loads((streets.folder / f / "coco_instances_results.json").read_text()) for f in ("out", "peer")]
    assert written[0] == written[1]


def test_annotations_equal_a_panoptic_png(streets: Streets):
    scene = draw_street()
    from_png = streets.add("street", scene)
    annotated = {key: from_png[key] for key in ("file_name", "image_id", "height", "width")}
    annotated["annotations"] = annotations_of(scene)
    # The three forms of a mask: compressed run lengths, plain ones, polygons.
    full = mask_util.decode(annotated["annotations"][1]["segmentation"]).reshape(-1, order="F")
    changes = np.flatnonzero(np.diff(full)) + 1
    counts = np.diff(changes, prepend=0, append=full.size).tolist()
    annotated["annotations"][1]["segmentation"] = {"size": list(SIZE), "counts": counts}
    x, y, w, h = annotated["annotations"][2]["bbox"]
    annotated["annotations"][2]["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    output = noisy_output(scene, np.random.default_rng(3))
    scores = [streets.evaluate(InstanceEvaluator, [record], [output]) for record in (from_png, annotated)]
    for task in ("bbox", "segm"):
        assert scores[0][task] == pytest.approx(scores[1][task], nan_ok=True)


def test_the_size_of_an_annotation_is_that_of_its_mask(streets: Streets):
    scene = draw_street((COMB,))
    record = {**streets.add("street", scene), "annotations": annotations_of(scene)}
    scores = streets.evaluate(InstanceEvaluator, [record], [perfect_output(scene)])
    for task in ("bbox", "segm"):
        assert scores[task]["APs"] == pytest.approx(100) and math.isnan(scores[task]["APm"])


def test_no_detection_scores_0(streets: Streets):
    record = streets.add("street", draw_street())
    output = {"instances": instances_of(np.zeros((0, *SIZE), dtype=bool), [], [])}
    scores = streets.evaluate(InstanceEvaluator, [record], [output])
    assert (scores["bbox"]["AP"], scores["segm"]["AP"], scores["segm"]["AP-car"]) == (0, 0, 0)
    assert json.loads((streets.folder / "out" / "coco_instances_results.json").read_text()) == []


def test_box_detector_has_box_scores_only(streets: Streets):
    scene = draw_street()
    record = streets.add("street", scene)
    output = perfect_output(scene)
    output["instances"].remove("pred_masks")
    evaluator = InstanceEvaluator(streets.table, [record], streets.folder / "out", with_masks=False)
    assert run(evaluator, [record], [output]).keys() == {"bbox", "errors_bbox"}


def test_scores_before_and_after_a_fusion(streets: Streets):
    record = streets.add("street", draw_street())
    before = {"instances": instances_of(np.stack([rectangle(*CAR_A[1:])]), [1], [0.9])}
    output = perfect_output(draw_street()) | {"unfused": before}
    evaluator = InstanceEvaluator(streets.table, [record], streets.folder / "out")
    scores = run(evaluator, [record], [output])
    assert scores.keys() == {"bbox", "segm", "segm_unfused", "errors_segm"}
    assert scores["segm"]["AP"] == pytest.approx(100)
    # Car A alone is found: 51 of 101 recall levels for the cars, no person.
    assert scores["segm_unfused"]["AP"] == pytest.approx(100 * 51 / 101 / 2)
    assert scores["segm_unfused"].keys() == scores["segm"].keys()
    assert len(json.loads((streets.folder / "out" / "coco_instances_results.json").read_text())) == 3


def test_missing_key_is_an_error(streets: Streets):
    """Item 40."""
    records = [streets.add(f"street_{i}", draw_street()) for i in range(3)]
    del records[2]["pan_seg_file_name"]
    with pytest.raises(ValueError, match=r"street_2\.png: .*pan_seg_file_name.* 1 of 3 images"):
        InstanceEvaluator(streets.table, records, streets.folder / "out")


def test_ground_truth_is_not_cached(streets: Streets):
    """Item 38: the ground truth is changed between two evaluations into one folder: car B is new, and missed."""
    output = perfect_output(draw_street(things=(CAR_A, WALKER)))
    for things, expected in (((CAR_A, WALKER), 100), ((CAR_A, WALKER, CAR_B), 100 * 51 / 101)):
        record = streets.add("street", draw_street(things))
        scores = streets.evaluate(InstanceEvaluator, [record], [output])
        assert scores["segm"]["AP-car"] == pytest.approx(expected)


class TestErrors:
    @pytest.fixture
    def record(self, streets: Streets) -> dict:
        return streets.add("street", draw_street())

    def process(self, streets: Streets, record: dict, output: dict) -> None:
        evaluator = InstanceEvaluator(streets.table, [record], streets.folder / "out")
        evaluator.process([record], [output])
        evaluator.evaluate()

    def test_class_out_of_range(self, streets: Streets, record: dict):
        output = {"instances": instances_of(rectangle(*CAR_A[1:])[None], [2], [0.5])}
        with pytest.raises(ValueError, match=r"'street': .*\[2\]"):
            self.process(streets, record, output)

    def test_score_that_is_not_finite(self, streets: Streets, record: dict):
        output = {"instances": instances_of(rectangle(*CAR_A[1:])[None], [1], [math.nan])}
        with pytest.raises(ValueError, match="'street': a score"):
            self.process(streets, record, output)

    def test_instances_of_another_image_size(self, streets: Streets, record: dict):
        output = perfect_output(draw_street())
        output["instances"]._image_size = (128, 64)
        with pytest.raises(ValueError, match=r"'street': .*\(128, 64\)"):
            self.process(streets, record, output)

    def test_missing_masks(self, streets: Streets, record: dict):
        output = perfect_output(draw_street())
        output["instances"].remove("pred_masks")
        with pytest.raises(ValueError, match="no pred_masks"):
            self.process(streets, record, output)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"category_id": 2}, "category_id .*2"),
            ({"segmentation": [[1, 1, 5, 1, math.inf, 5]]}, "far outside"),
            ({"segmentation": [[1, 1, 5, 1, 1e9, 5]]}, "far outside"),
            ({"segmentation": [[1, 1, 5, 1]]}, "at least 3 points"),
            ({"segmentation": {"size": [64, 128], "counts": [5, 6]}}, "do not add up"),
            ({"segmentation": {"size": [64, 128], "counts": "5"}}, "do not add up"),
            ({"segmentation": {"size": [64, 128], "counts": "P"}}, "compressed run lengths"),
            ({"segmentation": {"size": [4, 4], "counts": [8, 8]}}, "mask .*4, 4"),
            ({"segmentation": {"size": [4, 4], "counts": b"88"}}, "mask .*4, 4"),
            ({"segmentation": []}, "no segmentation"),
        ],
    )
    def test_invalid_annotation(self, streets: Streets, record: dict, change: dict, message: str):
        annotations = annotations_of(draw_street())
        annotations[1] |= change
        with pytest.raises(ValueError, match=rf"street.png: annotation 1.*{message}"):
            self.process(streets, record | {"annotations": annotations}, perfect_output(draw_street()))
