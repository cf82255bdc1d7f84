import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator
from drawn_streets import CAR, IGNORE, METADATA, PERSON, ROAD, SIZE, SKY, Streets, draw_street, perfect_output, run
from PIL import Image

from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.functional.class_table import ClassTable


def labels_output(labels: np.ndarray) -> dict:
    return {"sem_seg_labels": torch.from_numpy(labels)}


@pytest.mark.parametrize("compact", [False, True])
def test_perfect_predictions_score_100(streets: Streets, compact: bool):
    scenes = [draw_street(), draw_street(things=())]
    records = [streets.add(f"street_{i}", scene) for i, scene in enumerate(scenes)]
    evaluator = SemanticEvaluator(streets.table, records, streets.folder / "out")
    scores = run(evaluator, records, [perfect_output(scene, compact) for scene in scenes])["sem_seg"]
    assert set(scores) == {"mIoU", "fwIoU", "mACC", "pACC"} | {
        f"{metric}-{name}" for metric in ("IoU", "ACC") for name in METADATA["stuff_classes"]
    }
    assert all(value == pytest.approx(100) for value in scores.values())


def test_hand_derived_case(streets: Streets):
    scene = draw_street()
    record = streets.add("street", scene)
    labels = np.where(scene.semantic == IGNORE, CAR, scene.semantic)  # car on void: does not count
    labels[30:50, 10:40] = PERSON
    scores = run(SemanticEvaluator(streets.table, [record], streets.folder / "out"), [record], [labels_output(labels)])
    # Car: 920 true pixels, 600 of them (car A) called person: IoU 320 / 920. Person: 300 right of 300 true and 900
    # predicted: 300 / 900. Road and sky are right. 7680 pixels count, 7080 are right.
    car, person = 320 / 920, 300 / 900
    expected = {
        "IoU-road": 100,
        "IoU-sky": 100,
        "IoU-person": 100 * person,
        "IoU-car": 100 * car,
        "mIoU": 100 * (2 + person + car) / 4,
        "fwIoU": 100 * (2504 + 3956 + 300 * person + 920 * car) / 7680,
        "ACC-car": 100 * 320 / 920,
        "ACC-person": 100,
        "mACC": 100 * (3 + 320 / 920) / 4,
        "pACC": 100 * 7080 / 7680,
    }
    assert {key: scores["sem_seg"][key] for key in expected} == pytest.approx(expected)


def test_file_of_counts(streets: Streets):
    scenes = [draw_street(), draw_street(things=())]
    records = [streets.add(f"street_{i}", scene) for i, scene in enumerate(scenes)]
    outputs = [labels_output(np.full(SIZE, ROAD)), labels_output(np.full(SIZE, SKY))]
    run(SemanticEvaluator(streets.table, records, streets.folder / "out"), records, outputs)
    saved = np.load(streets.folder / "out" / "sem_seg.npz")
    # Image 0 (see drawn_streets): 2504 road, 3956 sky, 300 person, 920 car, all called road.
    # Image 1: 28 rows of road and 32 of sky, all called sky.
    assert saved["confusion"].tolist() == [[2504, 3584, 0, 0], [3956, 4096, 0, 0], [300, 0, 0, 0], [920, 0, 0, 0]]
    assert saved["per_image"].tolist() == [
        [[2504, 0, 0, 0], [2504, 3956, 300, 920], [7680, 0, 0, 0]],
        [[0, 4096, 0, 0], [3584, 4096, 0, 0], [0, 7680, 0, 0]],
    ]
    assert saved["image_ids"].tolist() == ["street_0", "street_1"]
    assert saved["class_names"].tolist() == METADATA["stuff_classes"]


def test_equal_to_detectron2(streets: Streets, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    scenes = [draw_street() for _ in range(3)]
    records = [streets.add(f"street_{i}", scene) for i, scene in enumerate(scenes)]
    outputs = [{"sem_seg": torch.from_numpy(rng.normal(size=(4, *SIZE)))} for _ in scenes]
    ours = run(SemanticEvaluator(streets.table, records, streets.folder / "out"), records, outputs)["sem_seg"]
    name = "drawn_streets_semantic"
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(**METADATA)
    try:
        evaluator = SemSegEvaluator(name, distributed=False)
        evaluator.reset()
        evaluator.process(records, outputs)
        theirs = evaluator.evaluate()["sem_seg"]
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    # Theirs is transposed and has one row and column more, for ignored pixels.
    confusion = np.load(streets.folder / "out" / "sem_seg.npz")["confusion"]
    assert (confusion == evaluator._conf_matrix[:-1, :-1].T).all()
    assert ours == pytest.approx({key: theirs[key] for key in ours})


def test_labels_in_a_palette_png_are_indices(streets: Streets):
    scene = draw_street()
    record = streets.add("street", scene)
    image = Image.fromarray(scene.semantic.astype(np.uint8), mode="P")
    image.putpalette([200, 10, 10] * 256)
    image.save(record["sem_seg_file_name"])
    evaluator = SemanticEvaluator(streets.table, [record], streets.folder / "out")
    assert run(evaluator, [record], [perfect_output(scene)])["sem_seg"]["mIoU"] == pytest.approx(100)


class TestRefuses:
    @pytest.fixture
    def record(self, streets: Streets) -> dict:
        return streets.add("street", draw_street())

    @pytest.fixture
    def evaluator(self, streets: Streets, record: dict) -> SemanticEvaluator:
        return SemanticEvaluator(streets.table, [record], streets.folder / "out")

    def test_a_truth_of_another_size(self, evaluator: SemanticEvaluator, record: dict):
        with pytest.raises(ValueError, match=r"labelTrainIds.png: labels of \(64, 128\).*\(128, 64\)"):
            evaluator.process([record], [labels_output(np.zeros((128, 64), dtype=int))])

    def test_a_true_id_out_of_range(self, evaluator: SemanticEvaluator, record: dict):
        Image.fromarray(np.full(SIZE, 4, dtype=np.uint8)).save(record["sem_seg_file_name"])
        with pytest.raises(ValueError, match=r"labelTrainIds.png: the truth holds the ids \[4\]"):
            evaluator.process([record], [perfect_output(draw_street())])

    def test_an_image_twice(self, evaluator: SemanticEvaluator, record: dict):
        outputs = [perfect_output(draw_street())]
        evaluator.process([record], outputs)
        with pytest.raises(ValueError, match="'street' came twice"):
            evaluator.process([record], outputs)

    def test_an_image_of_another_data_set(self, evaluator: SemanticEvaluator):
        with pytest.raises(ValueError, match="'avenue' is not of the data set"):
            evaluator.process([{"image_id": "avenue"}], [perfect_output(draw_street())])

    def test_records_with_one_id(self, streets: Streets, record: dict, tmp_path: Path):
        twin = copy.deepcopy(record) | {"file_name": "twin.png"}
        with pytest.raises(ValueError, match=r"image id 'street': .*street.png and twin.png"):
            SemanticEvaluator(streets.table, [record, twin], tmp_path)

    def test_no_records(self, streets: Streets, tmp_path: Path):
        with pytest.raises(ValueError, match="no records"):
            SemanticEvaluator(streets.table, [], tmp_path)

    def test_no_image(self, evaluator: SemanticEvaluator):
        evaluator.reset()
        with pytest.raises(ValueError, match="SemanticEvaluator saw no image"):
            evaluator.evaluate()

    def test_nothing_but_ignored_pixels(self, evaluator: SemanticEvaluator, record: dict):
        Image.fromarray(np.full(SIZE, IGNORE, dtype=np.uint8)).save(record["sem_seg_file_name"])
        evaluator.process([record], [perfect_output(draw_street())])
        with pytest.raises(ValueError, match="nothing to score"):
            evaluator.evaluate()

    def test_an_output_without_semantics(self, evaluator: SemanticEvaluator, record: dict):
        with pytest.raises(ValueError, match="'street': the model gave no 'sem_seg'"):
            evaluator.process([record], [{"instances": None}])


def test_classes_of_another_number(streets: Streets):
    """A model with more classes than the data set is found out by its first prediction of one."""
    table = ClassTable(streets.table.classes[:2])
    record = streets.add("street", draw_street(things=()))
    evaluator = SemanticEvaluator(table, [record], streets.folder / "out")
    with pytest.raises(ValueError, match=r"prediction holds the ids \[2, 3\]"):
        evaluator.process([record], [perfect_output(draw_street())])
