import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator
from drawn_streets import CAR, IGNORE, METADATA, PERSON, ROAD, SIZE, SKY, Streets, draw_street, perfect_output, run
from PIL import Image

from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.logit_map import LogitMap


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


def test_scores_by_hand(streets: Streets):
    scene = draw_street()
    record = streets.add("street", scene)
    labels = np.where(scene.semantic == IGNORE, CAR, scene.semantic)  # car on void: does not count
    labels[30:50, 10:40] = PERSON
    scores = streets.evaluate(SemanticEvaluator, [record], [labels_output(labels)])
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


def test_file_has_counts_of_every_image(streets: Streets):
    scenes = [draw_street(), draw_street(things=())]
    records = [streets.add(f"street_{i}", scene) for i, scene in enumerate(scenes)]
    outputs = [labels_output(np.full(SIZE, ROAD)), labels_output(np.full(SIZE, SKY))]
    streets.evaluate(SemanticEvaluator, records, outputs)
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


def test_equals_detectron2(streets: Streets, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    scenes = [draw_street() for _ in range(3)]
    records = [streets.add(f"street_{i}", scene) for i, scene in enumerate(scenes)]
    outputs = [{"sem_seg": torch.from_numpy(rng.normal(size=(4, *SIZE)))} for _ in scenes]
    scores = streets.evaluate(SemanticEvaluator, records, outputs)["sem_seg"]
    name = "drawn_streets_semantic"
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(**METADATA)
    try:
        evaluator = SemSegEvaluator(name, distributed=False)
        evaluator.reset()
        evaluator.process(records, outputs)
        expected = evaluator.evaluate()["sem_seg"]
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    # Detectron2's matrix is transposed, with one more row and column for ignored pixels.
    confusion = np.load(streets.folder / "out" / "sem_seg.npz")["confusion"]
    assert (confusion == evaluator._conf_matrix[:-1, :-1].T).all()
    assert scores == pytest.approx({key: expected[key] for key in scores})


def test_palette_png_is_read_as_indices(streets: Streets):
    scene = draw_street()
    record = streets.add("street", scene)
    image = Image.fromarray(scene.semantic.astype(np.uint8), mode="P")
    image.putpalette([200, 10, 10] * 256)
    image.save(record["sem_seg_file_name"])
    evaluator = SemanticEvaluator(streets.table, [record], streets.folder / "out")
    assert run(evaluator, [record], [perfect_output(scene)])["sem_seg"]["mIoU"] == pytest.approx(100)


class TestErrors:
    @pytest.fixture
    def record(self, streets: Streets) -> dict:
        return streets.add("street", draw_street())

    @pytest.fixture
    def evaluator(self, streets: Streets, record: dict) -> SemanticEvaluator:
        return SemanticEvaluator(streets.table, [record], streets.folder / "out")

    def test_prediction_of_another_size(self, evaluator: SemanticEvaluator, record: dict):
        with pytest.raises(ValueError, match=r"'street': semantic map of \(128, 64\).*\(64, 128\)"):
            evaluator.process([record], [labels_output(np.zeros((128, 64), dtype=int))])

    def test_transposed_ground_truth(self, evaluator: SemanticEvaluator, record: dict):
        """Item 26: a peer reads it in another order and scores a perfect prediction 22."""
        ground_truth = Image.open(record["sem_seg_file_name"])
        ground_truth.transpose(Image.Transpose.TRANSPOSE).save(record["sem_seg_file_name"])
        with pytest.raises(ValueError, match=r"labelTrainIds\.png: .*128x64"):
            evaluator.process([record], [perfect_output(draw_street())])

    def test_label_out_of_range(self, evaluator: SemanticEvaluator, record: dict):
        """Item 25."""
        Image.fromarray(np.full(SIZE, 4, dtype=np.uint8)).save(record["sem_seg_file_name"])
        with pytest.raises(ValueError, match=r"labelTrainIds\.png: .*\b4\b"):
            evaluator.process([record], [perfect_output(draw_street())])

    def test_image_given_twice(self, evaluator: SemanticEvaluator, record: dict):
        outputs = [perfect_output(draw_street())]
        evaluator.process([record], outputs)
        with pytest.raises(ValueError, match=r"'street' .*twice"):
            evaluator.process([record], outputs)

    def test_image_of_another_data_set(self, evaluator: SemanticEvaluator):
        with pytest.raises(ValueError, match="'avenue'"):
            evaluator.process([{"image_id": "avenue"}], [perfect_output(draw_street())])

    def test_duplicate_file_name(self, streets: Streets, record: dict, tmp_path: Path):
        """Item 28: a peer keys its ground truth on the file name, and scores 0."""
        twin = copy.deepcopy(record) | {"image_id": "twin"}
        with pytest.raises(ValueError, match=r"file_name .*street\.png .*'street' and 'twin'"):
            SemanticEvaluator(streets.table, [record, twin], tmp_path)

    @pytest.mark.parametrize("lack", ["file", "key"])
    def test_missing_label_file_or_key(self, streets: Streets, tmp_path: Path, lack: str):
        """Item 40: 3 images, 2 labels; an error before anything is scored."""
        records = [streets.add(f"street_{i}", draw_street()) for i in range(3)]
        if lack == "file":
            Path(records[1]["sem_seg_file_name"]).unlink()
        else:
            del records[1]["sem_seg_file_name"], records[1]["pan_seg_file_name"]
        with pytest.raises(ValueError, match=r"alpha/street_1\.png: .*1 of 3 images"):
            SemanticEvaluator(streets.table, records, tmp_path)

    def test_duplicate_image_id(self, streets: Streets, record: dict, tmp_path: Path):
        twin = copy.deepcopy(record) | {"file_name": "twin.png"}
        with pytest.raises(ValueError, match=r"image_id 'street' .*street\.png and twin\.png"):
            SemanticEvaluator(streets.table, [record, twin], tmp_path)

    # Item 27: no images, or nothing but ignored pixels.
    def test_no_records(self, streets: Streets, tmp_path: Path):
        with pytest.raises(ValueError, match="no records"):
            SemanticEvaluator(streets.table, [], tmp_path)

    def test_no_image(self, evaluator: SemanticEvaluator):
        evaluator.reset()
        with pytest.raises(ValueError, match="SemanticEvaluator: no image"):
            evaluator.evaluate()

    def test_only_ignored_pixels(self, evaluator: SemanticEvaluator, record: dict):
        Image.fromarray(np.full(SIZE, IGNORE, dtype=np.uint8)).save(record["sem_seg_file_name"])
        evaluator.process([record], [perfect_output(draw_street())])
        scores = evaluator.evaluate()["sem_seg"]
        assert {"mIoU", "pACC", "IoU-car"} <= scores.keys()
        assert np.isnan(list(scores.values())).all()
        assert "100.00 % of the pixels are void" in evaluator.notes[0]

    def test_output_without_semantic_map(self, evaluator: SemanticEvaluator, record: dict):
        with pytest.raises(ValueError, match=r"'street': .*no 'sem_seg'"):
            evaluator.process([record], [{"instances": None}])


def test_scores_before_and_after_a_fusion(streets: Streets):
    scene = draw_street()
    record = streets.add("street", scene)
    before = np.where(scene.semantic == CAR, PERSON, scene.semantic % 4)  # 920 pixels of cars called person
    output = perfect_output(scene, compact=True) | {"unfused": labels_output(before)}
    evaluator = SemanticEvaluator(streets.table, [record], streets.folder / "out")
    scores = run(evaluator, [record], [output])
    assert scores.keys() == {"sem_seg", "sem_seg_unfused"}
    assert scores["sem_seg"]["mIoU"] == pytest.approx(100)
    # Road and sky are right, no car is, of 1220 pixels called person 300 are: (2 + 300 / 1220) / 4.
    assert scores["sem_seg_unfused"]["mIoU"] == pytest.approx(100 * (2 + 300 / 1220) / 4)
    files = {task: np.load(streets.folder / "out" / f"{task}.npz") for task in scores}
    assert files["sem_seg_unfused"]["confusion"][CAR].tolist() == [0, 0, 920, 0]
    assert files["sem_seg"]["confusion"][CAR].tolist() == [0, 0, 0, 920]
    assert set(files["sem_seg"]) == set(files["sem_seg_unfused"])
    # A model without such a fusion evaluates into the same folder: no file of the earlier one stays.
    del output["unfused"]
    assert run(evaluator, [record], [output]).keys() == {"sem_seg"}
    assert sorted(path.name for path in (streets.folder / "out").iterdir()) == ["sem_seg.npz"]


def test_matrix_without_all_pixels_is_an_error(streets: Streets):
    record = streets.add("street", draw_street())
    evaluator = SemanticEvaluator(streets.table, [record], streets.folder / "out")
    item = evaluator.score_image(record, perfect_output(draw_street()))["sem_seg"]
    with pytest.raises(ValueError, match=r"7680 .* 7681"):
        evaluator.summarize({"street": {"sem_seg": item._replace(valid_pixels=7681)}})


def test_unfused_output_of_some_images_is_an_error(streets: Streets):
    scene = draw_street()
    records = [streets.add(f"street_{i}", scene) for i in range(2)]
    output = perfect_output(scene, compact=True)
    evaluator = SemanticEvaluator(streets.table, records, streets.folder / "out")
    with pytest.raises(ValueError, match=r"'unfused' .*1 of 2"):
        run(evaluator, records, [output | {"unfused": output}, output])


@pytest.mark.parametrize("name", ["uncorrected", "ungrouped"])
def test_scores_before_and_after_a_wrapper_head(streets: Streets, name: str):
    scene = draw_street()
    records = [streets.add(f"street_{i}", scene) for i in range(2)]
    before = np.where(scene.semantic == CAR, PERSON, scene.semantic % 4)  # 920 pixels of cars called person
    logits = torch.nn.functional.one_hot(torch.from_numpy(before), 4).permute(2, 0, 1).float()
    without = perfect_output(scene, compact=True)
    output = without | {"semantic_logit_maps": {name: LogitMap.from_logits(logits, 1, SIZE)}}
    evaluator = SemanticEvaluator(streets.table, records, streets.folder / "out")
    scores = run(evaluator, records, [output, output])
    assert {task: of_task["mIoU"] for task, of_task in scores.items()} == pytest.approx(
        {"sem_seg": 100, f"sem_seg_{name}": 100 * (2 + 300 / 1220) / 4}  # as before a fusion, above
    )
    assert (streets.folder / "out" / f"sem_seg_{name}.npz").is_file()
    # In sliding windows images that are larger than one have no such map: a mean over the others would mislead.
    assert run(evaluator, records, [output, without]).keys() == {"sem_seg"}
    assert sorted(path.name for path in (streets.folder / "out").iterdir()) == ["sem_seg.npz"]


def test_category_scores_by_hand(streets: Streets):
    metadata = METADATA | {"class_categories": {"road": "flat", "sky": "sky", "person": "mover", "car": "mover"}}
    table = ClassTable.from_metadata(SimpleNamespace(**metadata))
    scene = draw_street()
    record = streets.add("street", scene)
    labels = np.where(scene.semantic == IGNORE, SKY, scene.semantic)
    labels[30:50, 10:40] = PERSON  # car A, 600 pixels: of the right category
    labels[34:50, 60:80] = ROAD  # car B, 320 pixels
    evaluator = SemanticEvaluator(table, [record], streets.folder / "out")
    scores = run(evaluator, [record], [labels_output(labels)])["sem_seg"]
    # 1220 pixels of movers, 900 of them found; road has 2504 pixels and 320 more predicted.
    expected = {"cIoU-flat": 2504 / 2824, "cIoU-sky": 1, "cIoU-mover": 900 / 1220}
    got = {key: value / 100 for key, value in scores.items() if key.startswith("cIoU")}
    assert got == pytest.approx(expected)
    assert scores["mIoU_category"] == pytest.approx(100 * sum(expected.values()) / 3)


def test_ground_truth_is_not_cached(streets: Streets):
    """Item 38: the labels are edited between two evaluations by one evaluator."""
    scene = draw_street()
    record = streets.add("street", scene)
    evaluator = SemanticEvaluator(streets.table, [record], streets.folder / "out")
    assert run(evaluator, [record], [perfect_output(scene)])["sem_seg"]["IoU-car"] == pytest.approx(100)
    Image.fromarray(np.where(scene.semantic == CAR, PERSON, scene.semantic).astype(np.uint8)).save(
        record["sem_seg_file_name"]
    )
    assert run(evaluator, [record], [perfect_output(scene)])["sem_seg"]["IoU-car"] == 0


def test_prediction_of_an_unknown_class_is_an_error(streets: Streets):
    """A model with more classes than the data set fails at its first prediction of one."""
    table = ClassTable(streets.table.classes[:2])
    record = streets.add("street", draw_street(things=()))
    evaluator = SemanticEvaluator(table, [record], streets.folder / "out")
    with pytest.raises(ValueError, match=r"prediction contains ids \[2, 3\]"):
        evaluator.process([record], [perfect_output(draw_street())])
