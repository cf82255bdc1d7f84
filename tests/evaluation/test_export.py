import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_streets import CAR, SIZE, Streets, draw_street, instances_of, noisy_output, perfect_output, run
from PIL import Image

from unified_seg.data.datasets.cityscapes import build_cityscapes_table
from unified_seg.data.io.label_files import read_label, read_panoptic_ids, write_png
from unified_seg.evaluation.export import CityscapesSemanticExporter, CocoPanopticExporter
from unified_seg.evaluation.panoptic import PanopticEvaluator
from unified_seg.evaluation.semantic import SemanticEvaluator
from unified_seg.structures.class_table import ClassTable

WITHOUT_GROUND_TRUTH = ("file_name", "image_id", "height", "width")


def export(streets: Streets, kind: type, records: list[dict], outputs: list[dict]) -> None:
    bare = [{key: record[key] for key in WITHOUT_GROUND_TRUTH} for record in records]
    assert run(kind(streets.table, bare, streets.folder / "out"), bare, outputs) == {}


class TestCocoPanoptic:
    def test_panopticapi_reads_the_files(self, streets: Streets):
        from panopticapi.evaluation import pq_compute

        rng = np.random.default_rng(1)
        scenes = [draw_street() for _ in range(4)]
        # Item 30: base names are equal, image ids are not.
        records = [streets.add(f"city_{i}/street 1", scene, city=f"city_{i}") for i, scene in enumerate(scenes)]
        outputs = [noisy_output(scene, rng) for scene in scenes]
        export(streets, CocoPanopticExporter, records, outputs)
        folder = streets.folder / "out" / "panoptic"
        assert sorted(path.name for path in folder.glob("*.png")) == [f"city_{i}%2Fstreet%201.png" for i in range(4)]
        with contextlib.redirect_stdout(io.StringIO()):
            official = pq_compute(
                str(streets.write_panoptic_json()), str(folder / "predictions.json"), str(streets.folder), str(folder)
            )
        scores = streets.evaluate(PanopticEvaluator, records, outputs)["panoptic_seg"]
        assert scores["PQ"] == pytest.approx(100 * official["All"]["pq"], abs=1e-9)
        assert scores["PQ_th"] == pytest.approx(100 * official["Things"]["pq"], abs=1e-9)
        assert scores["SQ-car"] == pytest.approx(100 * official["per_class"][26]["sq"], abs=1e-9)

    def test_files_of_an_earlier_evaluation_are_deleted(self, streets: Streets):
        scene = draw_street()
        records = [streets.add(f"street_{i}", scene) for i in range(2)]
        export(streets, CocoPanopticExporter, records, [perfect_output(scene)] * 2)
        export(streets, CocoPanopticExporter, records[1:], [perfect_output(scene)])
        folder = streets.folder / "out" / "panoptic"
        assert sorted(path.name for path in folder.iterdir()) == ["predictions.json", "street_1.png"]
        written = json.loads((folder / "predictions.json").read_text())
        assert [annotation["image_id"] for annotation in written["annotations"]] == ["street_1"]

    def test_unknown_class_is_an_error(self, streets: Streets):
        output = perfect_output(draw_street())
        output["panoptic_seg"][1][-1]["category_id"] = 9
        with pytest.raises(ValueError, match=r"'street': predicted segment 26001: .*category_id 9"):
            export(streets, CocoPanopticExporter, [streets.add("street", draw_street())], [output])

    def test_png_stores_ids_of_three_bytes(self, tmp_path: Path):
        ids = np.array([[0, 255, 256], [65536, 26001, 256**3 - 1]])
        write_png(tmp_path / "ids.png", ids)
        assert (read_panoptic_ids(tmp_path / "ids.png") == ids).all()
        with pytest.raises(ValueError, match=r"got 0 \.\. 16777216"):
            write_png(tmp_path / "ids.png", ids + np.array([[0, 0, 0], [0, 0, 1]]))


class TestCityscapesSemantic:
    def test_equals_the_official_script(self, tmp_path: Path):
        """The official script finds the files by itself; its matrix and IoUs are those of the evaluator."""
        official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
        table = build_cityscapes_table()
        rng = np.random.default_rng(0)
        # Of Cityscapes' 34 label ids some are ignored; trucks are predicted, but not in the ground truth.
        label_of = np.array([c.dataset_id for c in table.classes])
        train_ids = np.full(256, 255, dtype=np.uint8)
        train_ids[label_of] = np.arange(19)
        possible = np.array([i for i in range(34) if i != 27])
        records, outputs, ground_truths = [], [], []
        for i in range(3):
            labels = np.where(rng.random((24, 40)) < 0.3, rng.choice(possible, (24, 40)), 7 + i).astype(np.uint8)
            prediction = np.where(rng.random((24, 40)) < 0.5, train_ids[labels], rng.integers(0, 17, (24, 40)))
            prediction[prediction == 255] = 4
            stem = f"bonn_000000_{i:06d}"
            ground_truths.append(str(tmp_path / f"{stem}_gtFine_labelIds.png"))
            Image.fromarray(labels).save(ground_truths[-1])
            Image.fromarray(train_ids[labels]).save(tmp_path / f"{stem}_gtFine_labelTrainIds.png")
            record = {"file_name": f"{stem}.png", "image_id": stem, "height": 24, "width": 40}
            records.append(record | {"sem_seg_file_name": str(tmp_path / f"{stem}_gtFine_labelTrainIds.png")})
            outputs.append({"sem_seg_labels": torch.from_numpy(prediction)})
        assert run(CityscapesSemanticExporter(table, records, tmp_path / "out"), records, outputs) == {}
        scores = run(SemanticEvaluator(table, records, tmp_path / "out"), records, outputs)["sem_seg"]
        confusion = np.load(tmp_path / "out" / "sem_seg.npz")["confusion"]

        settings = official.CArgs()
        settings.__dict__.update(vars(official.args))
        settings.predictionPath, settings.predictionWalk = str(tmp_path / "out" / "sem_seg_cityscapes"), None
        settings.quiet, settings.JSONOutput, settings.evalInstLevelScore = True, False, False
        predictions = [official.getPrediction(settings, ground_truth) for ground_truth in ground_truths]
        expected = official.evaluateImgLists(predictions, ground_truths, settings)
        assert (np.array(expected["confMatrix"])[np.ix_(label_of, label_of)] == confusion).all()
        assert scores["mIoU"] == pytest.approx(100 * expected["averageScoreClasses"], rel=1e-12)
        assert scores["mIoU_category"] == pytest.approx(100 * expected["averageScoreCategories"], rel=1e-12)
        assert 10 < scores["mIoU"] < scores["mIoU_category"] < 90
        assert scores["IoU-truck"] == 0
        for name in table.semantic_names:
            assert scores[f"IoU-{name}"] == pytest.approx(100 * expected["classScores"][name], rel=1e-12, nan_ok=True)
        for name in table.categories:
            assert scores[f"cIoU-{name}"] == pytest.approx(100 * expected["categoryScores"][name], rel=1e-12)

    @pytest.mark.parametrize("compact", [False, True])
    def test_pixels_are_dataset_ids(self, streets: Streets, compact: bool):
        scene = draw_street()
        record = streets.add("alpha/the street", scene)
        export(streets, CityscapesSemanticExporter, [record], [perfect_output(scene, compact)])
        (file,) = (streets.folder / "out" / "sem_seg_cityscapes").iterdir()
        assert file.name == "alpha%2Fthe%20street_pred.png"
        label = read_label(file)
        assert label.dtype == np.uint8
        assert (label[:60] == np.array([7, 23, 24, 26])[scene.semantic[:60]]).all()

    def test_labels_after_the_fusion_are_exported(self, streets: Streets):
        scene = draw_street()
        record = streets.add("street", scene)
        output = perfect_output(scene, compact=True)
        output["unfused"] = {"sem_seg_labels": torch.zeros(SIZE, dtype=torch.uint8)}
        export(streets, CityscapesSemanticExporter, [record], [output])
        assert 26 in read_label(streets.folder / "out" / "sem_seg_cityscapes" / "street_pred.png")

    def test_semantic_id_out_of_range_is_an_error(self, streets: Streets):
        record = streets.add("street", draw_street())
        output = {"sem_seg_labels": torch.full(SIZE, 4)}
        with pytest.raises(ValueError, match=r"'street': .*0 \.\. 3.*got 4"):
            export(streets, CityscapesSemanticExporter, [record], [output])

    def test_table_without_label_ids_is_an_error(self, streets: Streets, tmp_path: Path):
        records = [streets.add("street", draw_street())]
        classes = streets.table.classes
        shared = ClassTable([classes[0], *(replace(c, semantic_id=1) for c in classes[2:])])
        with pytest.raises(ValueError, match="share a semantic id"):
            CityscapesSemanticExporter(shared, records, tmp_path)
        with pytest.raises(ValueError, match=r"dataset ids .*got 7 \.\. 70000"):
            CityscapesSemanticExporter(
                ClassTable([*classes[:CAR], replace(classes[CAR], dataset_id=70000)]), records, tmp_path
            )


def test_instance_exporter_and_evaluator_write_the_same(streets: Streets):
    cityscapes = pytest.importorskip("unified_seg.evaluation.cityscapes_instances")
    record = streets.add("street", draw_street())
    mask = np.zeros((1, *SIZE), dtype=bool)
    mask[0, 30:50, 10:40] = True
    outputs = [{"instances": instances_of(mask, [1], [0.5])}]
    folder = streets.folder / "out" / "cityscapes_instances"
    run(cityscapes.CityscapesInstanceEvaluator(streets.table, [record], streets.folder / "out"), [record], outputs)
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    export(streets, cityscapes.CityscapesInstanceExporter, [record], outputs)
    assert written == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert written["street_pred.txt"] == b"street_0_26.png 26 0.5\n"
