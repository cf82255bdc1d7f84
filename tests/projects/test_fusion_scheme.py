"""The scripts of projects/fusion_scheme, on the hand-drawn data set and a small model with random weights."""

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from random_model import random_state

from unified_seg.data.coco.panoptic_segments import read_segments
from unified_seg.data.io.image_files import read_image
from unified_seg.inference import Predictor
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable

PROJECT = Path(__file__).parents[2] / "projects" / "fusion_scheme"


@pytest.fixture(scope="module")
def load(load_script) -> Iterator[Callable[[str], ModuleType]]:
    """Loads a script by name; as when it is run, it can import its neighbor `shared`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROJECT)
        yield lambda name: load_script(PROJECT / f"{name}.py")
    sys.modules.pop("shared", None)


@pytest.fixture(scope="module")
def draw_changes(load) -> ModuleType:
    return load("draw_changes")


@pytest.fixture(scope="module")
def draw_object_changes(load) -> ModuleType:
    return load("draw_object_changes")


@pytest.fixture(scope="module")
def detector_quality(load) -> ModuleType:
    return load("detector_quality")


@pytest.fixture(scope="module")
def object_size(load) -> ModuleType:
    return load("object_size")


@pytest.fixture(scope="module")
def semantic_quality(load) -> ModuleType:
    return load("semantic_quality")


@pytest.fixture
def run_folder(tiny_config, tmp_path) -> Path:
    """A config and the checkpoints of a "training": after 5 and 10 iterations, the latter also as model_final."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(tiny_config.dump())
    for seed, names in enumerate((["model_0000004"], ["model_0000009", "model_final"])):
        weights = random_state(tiny_config, seed)
        for name in names:
            torch.save({"model": weights, "iteration": int(names[0][-7:])}, folder / f"{name}.pth")
    return folder


# Every score of a model with random weights is above 0.05.
LOW = ["MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", "0.05"]


@pytest.fixture
def changes_command(run_folder, tiny_dataset, tmp_path):
    def build(*arguments: str, dataset: str = tiny_dataset.val, opts: tuple[str, ...] = ()) -> list[str]:
        words = ["--config-file", run_folder / "config.yaml", "--dataset", dataset, "--output", tmp_path / "changes"]
        words += [*arguments, "--opts", "MODEL.WEIGHTS", run_folder / "model_final.pth", *LOW, *opts]
        return [str(word) for word in words]

    return build


def test_changes_are_listed_and_drawn(draw_changes, changes_command, tmp_path):
    draw_changes.main(changes_command("--top", "1"))
    rows = list(csv.DictReader((tmp_path / "changes" / "changes.csv").open()))
    assert {row["image_id"] for row in rows} == {"alpha_000000_000019", "alpha_000001_000019"}
    for row in rows:
        assert float(row["after"]) - float(row["before"]) == pytest.approx(float(row["change"]), abs=2e-4)
    assert float(rows[0]["change"]) >= float(rows[1]["change"])
    for name in ("best.png", "worst.png"):
        height, width = cv2.imread(str(tmp_path / "changes" / name)).shape[:2]
        # Four pictures of 512 x 256 with 4 pixels between them, under two captions and above the legend.
        assert width == 4 * 512 + 3 * 4 and height >= 256 + 3 * 22


def test_label_maps_are_those_before_and_after_the_fusion(draw_changes, tiny_dataset):
    record = DatasetCatalog.get(tiny_dataset.val)[0]
    table = ClassTable.from_metadata(MetadataCatalog.get(tiny_dataset.val))
    before, after = (torch.full((64, 128), semantic_id) for semantic_id in (1, 2))
    outputs = {"sem_seg_labels": after, "unfused": {"sem_seg_labels": before}}
    predictor = Mock(return_value=outputs, read=read_image, model=torch.nn.Identity(), at_once=1)
    predictor.predict_all = partial(Predictor.predict_all, predictor)
    (maps,) = draw_changes.predict_label_maps(predictor, table, [record])
    assert np.array_equal(maps.ground_truth, cv2.imread(record["sem_seg_file_name"], cv2.IMREAD_UNCHANGED))
    assert (maps.before == 1).all() and (maps.after == 2).all()


def test_fusion_that_refines_nothing_is_an_error(draw_changes, changes_command):
    with pytest.raises(SystemExit, match=r"MODEL\.PANOPTIC_FUSION\.NAME"):
        draw_changes.main(changes_command(opts=("MODEL.PANOPTIC_FUSION.NAME", "ScoreOrderFusion")))


def test_objects_that_a_fusion_changes_are_drawn(draw_object_changes, changes_command, tmp_path):
    draw_object_changes.main(changes_command("--top", "1"))
    rows = list(csv.DictReader((tmp_path / "changes" / "changes.csv").open()))
    assert len(rows) == 2 and float(rows[0]["change"]) >= float(rows[1]["change"])
    for name in ("best.png", "worst.png"):
        assert cv2.imread(str(tmp_path / "changes" / name)).shape[1] == 5 * 512 + 4 * 4


def test_objects_are_closer_or_farther_off(draw_object_changes, tiny_dataset):
    record = DatasetCatalog.get(tiny_dataset.val)[0]
    table = ClassTable.from_metadata(MetadataCatalog.get(tiny_dataset.val))
    ids, segments = read_segments(record, table)
    things = [segment for segment in segments if segment.cls.is_thing and not segment.is_crowd]
    infos = [{"id": each.id, "isthing": each.cls.is_thing, "category_id": each.cls.category_id} for each in segments]
    perfect = {"panoptic_seg": (torch.from_numpy(ids.astype(np.int32)), infos)}
    # The same without the last column of the first thing: its IoU is smaller, or it is lost.
    columns = things[0].window[1]
    cut = np.where((ids == things[0].id) & (np.arange(ids.shape[1]) == columns.stop - 1), 0, ids)
    worse = {"panoptic_seg": (torch.from_numpy(cut.astype(np.int32)), infos)}
    fused = draw_object_changes.pair_outputs(record, [perfect, worse], table)
    change = fused.measure(table)
    kept = (cut == things[0].id).sum() / things[0].area
    assert kept > 0.5
    # Every thing has an IoU of 1 but one.
    assert change.before == 100 and change.after == pytest.approx(100 * (len(things) - 1 + kept) / len(things))
    panel = draw_object_changes.make_change_panel(fused, ids)
    assert panel.caption == "true objects: 0 closer (green), 1 farther off (red)"
    (red,) = [segment.id for segment in panel.segments if segment.color == draw_object_changes.WORSE]
    assert np.array_equal(panel.ids == red, ids == things[0].id)
    back = draw_object_changes.pair_outputs(record, [worse, perfect], table)
    assert draw_object_changes.make_change_panel(back, ids).caption.startswith("true objects: 1 closer")


def test_errors_name_data_set_and_weights(draw_changes, changes_command):
    with pytest.raises(SystemExit, match="no_such_set"):
        draw_changes.main(changes_command(dataset="no_such_set"))
    with pytest.raises(SystemExit, match=r"absent\.pth"):
        draw_changes.main(changes_command(opts=("MODEL.WEIGHTS", "absent.pth")))
    with pytest.raises(SystemExit):
        draw_changes.parse_args(changes_command("--top", "0"))


@pytest.fixture
def quality_command(run_folder, tiny_dataset, tmp_path):
    def build(*opts: str) -> list[str]:
        words = ["--config-file", run_folder / "config.yaml", "--run", run_folder, "--dataset", tiny_dataset.val]
        words += ["--output", tmp_path / "quality", "--opts", *LOW, *opts]
        return [str(word) for word in words]

    return build


@pytest.mark.end_to_end
def test_every_checkpoint_is_scored_once(detector_quality, quality_command, run_folder, tmp_path, monkeypatch):
    detector_quality.main(quality_command())
    file = tmp_path / "quality" / "detector_quality.json"
    content = json.loads(file.read_text())
    assert [(p["iterations"], p["checkpoint"]) for p in content["points"]] == [
        (5, "model_0000004.pth"),
        (10, "model_0000009.pth"),
    ]
    for point in content["points"]:
        results = json.loads(
            (tmp_path / "quality" / point["checkpoint"][:-4] / "inference" / "results.json").read_text()
        )["results"][content["dataset"]]
        assert point["miou_fused"] == results["sem_seg"]["mIoU"] and point["pq"] == results["panoptic_seg"]["PQ"]
        assert point["mask_ap"] == results["segm_unfused"]["AP"]
        assert all(0 <= point[key] <= 100 for key in ("mask_ap", "miou", "miou_fused", "pq", "found"))
    assert cv2.imread(str(tmp_path / "quality" / "detector_quality.png")).shape[1] > 1000

    # Checkpoints are not scored twice, unless they are newer than their scores.
    scored = []
    monkeypatch.setattr(detector_quality, "evaluate", lambda cfg: scored.append(cfg.MODEL.WEIGHTS))
    monkeypatch.setattr(detector_quality, "draw_curves", lambda *_: None)  # the same plots again
    detector_quality.main(quality_command())
    assert scored == [] and json.loads(file.read_text()) == content
    later = time.time() + 10
    os.utime(run_folder / "model_0000009.pth", (later, later))
    detector_quality.main(quality_command())
    assert scored == [str(run_folder / "model_0000009.pth")]
    with pytest.raises(SystemExit, match=r"model_0000004: .*another config"):
        detector_quality.main(quality_command("MODEL.PANOPTIC_FUSION.CONNECTIVITY", "8"))


def test_missing_scores_of_an_evaluation_are_null(detector_quality):
    results = {
        "segm": {"AP": 11.0},
        "segm_unfused": {"AP": 10.0},
        "sem_seg": {"mIoU": 52.0},
        "sem_seg_unfused": {"mIoU": 50.0},
        "panoptic_seg": {"PQ": 30.0},
        "recognition": {"pixels": 80.0, "pixels_fused": 85.0, "boxes": 90.0, "found": 40.0, "boxes_wide": None},
    }
    point = detector_quality.select_scores(500, Path("model_0000499.pth"), results)
    assert point == {
        "iterations": 500, "checkpoint": "model_0000499.pth", "mask_ap": 10.0, "mask_ap_fused": 11.0,
        "miou": 50.0, "miou_fused": 52.0, "pq": 30.0,
        "pixels": 80.0, "pixels_fused": 85.0, "boxes": 90.0, "found": 40.0,
        "pixels_wide": None, "pixels_fused_wide": None, "boxes_wide": None, "found_wide": None,
    }  # fmt: skip


def test_curves_are_differences_of_scores(detector_quality, tmp_path):
    names = [name for name, *_ in detector_quality.SCORES]
    points = [
        {**dict.fromkeys(names, 50.0), "iterations": 10, "mask_ap": 20.0, "miou_fused": 51.5, "boxes_wide": None},
        {**dict.fromkeys(names, 50.0), "iterations": 20, "mask_ap": 15.0, "miou_fused": 49.0, "boxes_wide": None},
    ]
    gains, recognition = detector_quality.list_curves(points)
    assert gains == [
        {"mIoU": [(10, 1.5), (20, -1.0)], "mask AP": [(10, 30.0), (20, 35.0)]},  # over iterations
        {"mIoU": [(15.0, -1.0), (20.0, 1.5)], "mask AP": [(15.0, 35.0), (20.0, 30.0)]},  # over mask AP
    ]
    assert [list(curves.values()) for curves in recognition] == [[[(10, 0), (20, 0)], []], [[(15, 0), (20, 0)], []]]
    detector_quality.draw_curves(points, "title", tmp_path / "plot.png")
    assert cv2.imread(str(tmp_path / "plot.png")) is not None


def test_folder_without_a_training_is_an_error(detector_quality, quality_command, run_folder):
    torch.save({"model": {}}, run_folder / "model_final.pth")
    with pytest.raises(SystemExit, match=r"model_final\.pth: .*KeyError"):
        detector_quality.main(quality_command())
    (run_folder / "model_final.pth").write_text("<html>")
    with pytest.raises(SystemExit, match=r"model_final\.pth: "):
        detector_quality.main(quality_command())
    for checkpoint in run_folder.glob("*.pth"):
        checkpoint.unlink()
    (run_folder / "model_best.pth").touch()
    with pytest.raises(SystemExit, match=r"--run .*: "):
        detector_quality.main(quality_command())


def test_object_size_measures_masks_before_and_after_the_fusion(object_size, tiny_dataset, tmp_path):
    record = DatasetCatalog.get(tiny_dataset.val)[0]
    table = ClassTable.from_metadata(MetadataCatalog.get(tiny_dataset.val))
    ids, segments = read_segments(record, table)
    thing = next(s for s in segments if s.cls.is_thing and not s.is_crowd)
    rows, columns = thing.window
    full = torch.from_numpy(ids == thing.id)
    half = full.clone()
    half[: (rows.start + rows.stop) // 2] = False
    box = torch.tensor([[columns.start, rows.start, columns.stop, rows.stop]], dtype=torch.float32)

    def outputs(mask: torch.Tensor) -> dict[str, Any]:
        fields = {"scores": torch.tensor([0.9]), "pred_classes": torch.tensor([0]), "pred_boxes": Boxes(box)}
        instances = Instances(ids.shape, **fields, pred_masks=BoxMasks.from_full(mask[None]))
        # Every pixel has the label of the thing, so all have its category.
        return {"instances": instances, "sem_seg_labels": torch.full(ids.shape, thing.cls.semantic_id)}

    after = [outputs(full), outputs(half)]
    (found,) = object_size.find_objects(outputs(half), after, record, table, 0.5)
    share = float(half.sum() / full.sum())  # half is inside full: its IoU is their ratio
    assert found[:3] == pytest.approx((thing.area**0.5, 1, share)) and found.after == pytest.approx((1, share))
    assert object_size.find_objects(outputs(half), after, record, table, 0.95) == []
    (bin_of_it,) = object_size.average_by_size([found])
    assert bin_of_it["from"] <= thing.area**0.5 < (bin_of_it["to"] or np.inf) and bin_of_it["objects"] == 1


def test_object_size_writes_json_and_plot(object_size, run_folder, tiny_dataset, tmp_path, monkeypatch):
    # A model with random weights finds nothing.
    found = [object_size.FoundObject(9, 0.6, 0.5, (0.4, 0.55)), object_size.FoundObject(50, 0.9, 0.7, (0.8, 0.75))]
    monkeypatch.setattr(object_size, "find_objects", lambda *_: found)
    out = tmp_path / "sizes"
    words = ["--config-file", run_folder / "config.yaml", "--dataset", tiny_dataset.val, "--output", out]
    object_size.main([str(word) for word in (*words, "--opts", "MODEL.WEIGHTS", run_folder / "model_final.pth")])
    sizes = json.loads((out / "object_size.json").read_text())["sizes"]
    assert [(b["from"], b["to"], b["iou_before"], list(b["iou_after"].values())) for b in sizes] == [
        (8, 12, 0.5, [0.4, 0.55]),
        (48, 64, 0.7, [0.8, 0.75]),
    ]
    assert cv2.imread(str(out / "object_size.png")) is not None


def test_coarse_maps_lose_what_is_thinner_than_half_a_cell(semantic_quality):
    table = ClassTable.from_metadata(MetadataCatalog.get("unified_cityscapes_val"))
    labels = torch.zeros(8, 8, dtype=torch.uint8)
    labels[:, 3] = 5  # one pixel wide: a quarter of a cell of 4, gone; half of a cell of 2
    labels[:, 4:] = 7
    same, certain = semantic_quality.coarsen(labels, 1, table)
    assert torch.equal(same, labels)
    assert certain.confidence((8, 8)).min() > 1 - 1e-6
    at_4, logits = semantic_quality.coarsen(labels, 4, table)
    assert set(at_4.unique().tolist()) == {0, 7}
    # A quarter of the left cells has the thin class.
    shares = logits.logits((8, 8)).softmax(0)
    assert shares[[0, 5, 7], 0, 0].tolist() == pytest.approx([0.75, 0.25, 0])
    labels[:4] = table.ignore_label
    assert semantic_quality.coarsen(labels, 2, table)[0].max() < table.num_semantic


@pytest.mark.end_to_end
def test_semantic_quality_scores_every_map_with_all_fusions(semantic_quality, run_folder, tiny_dataset, tmp_path):
    words = ["--config-file", run_folder / "config.yaml", "--dataset", tiny_dataset.val, "--output", tmp_path]
    semantic_quality.main([str(word) for word in (*words, "--opts", "MODEL.WEIGHTS", run_folder / "model_final.pth")])
    rows = json.loads((tmp_path / "semantic_quality.json").read_text())["rows"]
    assert len(rows) == 30
    assert cv2.imread(str(tmp_path / "semantic_quality.png")) is not None
    scores = {(row["map"], row["fusion"]): row for row in rows if row["detections"] == "predicted"}
    # Without a detection the fusion leaves the ground truth unchanged.
    assert scores["true, stride 1", "ScoreOrderFusion"]["mIoU"] == 100
    assert scores["true, stride 1", "ScoreOrderFusion"]["PQ"] > scores["predicted", "ScoreOrderFusion"]["PQ"]
    # The small boxes are finer than 28x28 masks: nothing is lost by a perfect detector.
    perfect = {(row["map"], row["fusion"]): row for row in rows if row["detections"] == "perfect"}
    assert perfect["true, stride 1", "EvidenceFusion"]["mIoU"] == pytest.approx(100)
    assert perfect["predicted", "ScoreOrderFusion"]["mask AP"] == pytest.approx(100)
