import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from config_runs import evaluate
from detectron2.config import CfgNode
from drawn_streets import IGNORE, METADATA, ROAD, SKY, Streets, draw_street, record_of, run
from model_parts import without_detector
from PIL import Image

from unified_seg.data.problems import DataError
from unified_seg.evaluation.tables import list_classes
from unified_seg.heads.pyramidal_output.evaluator import LevelEvaluator, count_level_confusion, format_scores
from unified_seg.meta_arch import build_model
from unified_seg.ops.metrics.confusion import compute_semantic_scores, confusion_matrix
from unified_seg.structures.cell_map import CellMap

CLASSES = METADATA["stuff_classes"]


def output_of(levels: Any, labels: dict[int, Any], input_size: tuple[int, int]) -> dict[str, Any]:
    """Return the output of a model with levels of these strides."""
    maps = {"levels": CellMap(torch.as_tensor(levels, dtype=torch.uint8), min(labels), input_size)}
    for stride, cells in labels.items():
        maps[f"labels_{stride}"] = CellMap(torch.as_tensor(cells, dtype=torch.uint8), stride, input_size)
    return {"semantic_maps": maps}


def random_case(seed: int, size: tuple[int, int], input_size: tuple[int, int], strides: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(seed)
    ground_truth = rng.choice([0, 1, 2, 3, IGNORE], size)
    cells = {s: (-(-input_size[0] // s), -(-input_size[1] // s)) for s in strides}
    labels = {s: rng.integers(0, 4, shape) for s, shape in cells.items()}
    return ground_truth, output_of(rng.integers(0, len(strides), cells[strides[-1]]), labels, input_size)


@pytest.fixture
def hand(streets: Streets) -> tuple[LevelEvaluator, dict, dict]:
    """Left half: assigned to the coarse level, whose one cell is road. Right half: to the fine level's 2 x 2 cells."""
    ground_truth = np.array([[ROAD, ROAD, SKY, SKY]] * 2 + [[ROAD, ROAD, ROAD, SKY], [ROAD, ROAD, SKY, IGNORE]])
    output = output_of([[0, 1], [0, 1]], {4: [[ROAD]], 2: [[SKY, SKY], [ROAD, ROAD]]}, (4, 4))
    record = record_of(streets.folder, ground_truth)
    return LevelEvaluator(streets.table, [record], streets.folder / "out", (4, 2)), record, output


def test_scores_match_hand_computed_ones(hand: tuple[LevelEvaluator, dict, dict]) -> None:
    evaluator, record, output = hand
    scores = run(evaluator, [record], [output])["levels"]
    # 15 pixels count: 8 of road at the left; at the right 1 of road and 6 of sky.
    expected = {
        "share_4": 8 / 15,
        "share_2": 7 / 15,
        # Coarse on the left: all road, all right; sky is neither true nor predicted, and so left out.
        "mIoU_4_4": 1,
        # Fine on the left: 4 pixels are predicted sky, 4 road: road 4 / 8, sky 0 / 4.
        "mIoU_4_2": (4 / 8 + 0) / 2,
        # Coarse on the right: all road: road 1 / 7, sky 0 / 6.
        "mIoU_2_4": (1 / 7 + 0) / 2,
        # Fine on the right: 4 of 6 pixels of sky are found, 2 predicted road: road 1 / 3, sky 4 / 6.
        "mIoU_2_2": (1 / 3 + 4 / 6) / 2,
        # Fused: road 8 + 1 right of 9 true and 8 + 3 predicted; sky as on the right.
        "mIoU": (9 / 11 + 4 / 6) / 2,
        # Coarse everywhere: 15 pixels are predicted road, 9 are.
        "mIoU_4": (9 / 15 + 0) / 2,
        # Fine everywhere: road 4 + 1 right of 9 true and 4 + 3 predicted; sky 4 right of 6 and 4 + 4.
        "mIoU_2": (5 / 11 + 4 / 10) / 2,
        "IoU-road": 9 / 11,
        "IoU-sky": 4 / 6,
        "IoU_4-road": 9 / 15,
        "IoU_4-sky": 0,
        "IoU_2-road": 5 / 11,
        "IoU_2-sky": 4 / 10,
    }
    assert {key: value / 100 for key, value in scores.items() if not math.isnan(value)} == pytest.approx(expected)
    absent = {key for key, value in scores.items() if math.isnan(value)}
    assert absent == {f"{metric}-{name}" for metric in ("IoU", "IoU_4", "IoU_2") for name in ("person", "car")}
    saved = np.load(evaluator.output_folder / "levels.npz")
    assert saved["strides"].tolist() == [4, 2] and saved["class_names"].tolist() == CLASSES
    assert saved["confusion"].shape == (2, 2, 4, 4)
    assert saved["confusion"][1, 1, :2, :2].tolist() == [[1, 0], [2, 4]]


def test_table_shows_the_scores_of_every_level(hand: tuple[LevelEvaluator, dict, dict]) -> None:
    evaluator, record, output = hand
    scores = run(evaluator, [record], [output])["levels"]
    lines = [line.split() for line in format_scores(scores).splitlines()]
    assert lines[1] == ["predictions", "of", "all", "pixels", "pixels", "of", "4", "pixels", "of", "2"]
    assert lines[3:] == [
        ["assigned", "level", "74.24", "100.00", "50.00"],
        ["level", "4", "30.00", "100.00", "7.14"],
        ["level", "2", "42.73", "25.00", "50.00"],
        ["share", "of", "pixels", "100.00", "53.33", "46.67"],
    ]


def test_class_scores_are_found_by_any_name(hand: tuple[LevelEvaluator, dict, dict]) -> None:
    evaluator, record, output = hand
    table = evaluator.table
    names = ["road", "traffic - light", "4-2", "car"]
    renamed = [type(c)(**{**vars(c), "name": name}) for c, name in zip(table.classes, names)]
    evaluator.table = type(table)(tuple(renamed))
    scores = run(evaluator, [record], [output])["levels"]
    assert list_classes(scores, ("IoU_4",)) == list_classes(scores, ("IoU",)) == names
    assert list_classes(scores, ("share_4", "mIoU", "mIoU_4")) == []
    assert scores["IoU_2-traffic - light"] == pytest.approx(40)


STRIDES = (16, 8, 4)


@pytest.mark.parametrize("size", [(37, 53), (20, 31), (60, 90)])
def test_confusion_equals_a_plain_reference(streets: Streets, size: tuple[int, int]) -> None:
    """Two images of another size than the network's input; no size is a multiple of a stride."""
    cases = [random_case(seed, size, input_size, STRIDES) for seed, input_size in enumerate([(37, 53), (30, 50)])]
    records = [record_of(streets.folder, ground_truth, f"street_{i}") for i, (ground_truth, _) in enumerate(cases)]
    run(
        LevelEvaluator(streets.table, records, streets.folder / "out", STRIDES),
        records,
        [output for _, output in cases],
    )
    expected = np.zeros((3, 3, 4, 4), dtype=np.int64)
    for ground_truth, output in cases:
        maps = output["semantic_maps"]
        for (y, x), true in np.ndenumerate(ground_truth):
            if true == IGNORE:
                continue
            at = {}
            for name, cells in maps.items():
                # The center of the pixel, in pixels of the network's input.
                row, column = ((i + 0.5) * seen / side for i, seen, side in zip((y, x), cells.input_size, size))
                at[name] = int(cells.values[int(row / cells.stride), int(column / cells.stride)])
            for predicting, stride in enumerate(STRIDES):
                expected[at["levels"], predicting, true, at[f"labels_{stride}"]] += 1
    assert (np.load(streets.folder / "out" / "levels.npz")["confusion"] == expected).all()


def test_diagonal_is_the_fused_prediction(streets: Streets) -> None:
    ground_truth, output = random_case(3, (37, 53), (74, 106), STRIDES)
    record = record_of(streets.folder, ground_truth)
    scores = run(LevelEvaluator(streets.table, [record], streets.folder / "out", STRIDES), [record], [output])["levels"]
    assert sum(scores[f"share_{s}"] for s in STRIDES) == pytest.approx(100)
    levels, *labels = (m.read(ground_truth.shape).numpy() for m in output["semantic_maps"].values())
    fused = np.choose(levels, labels)
    confusion = np.load(streets.folder / "out" / "levels.npz")["confusion"]
    expected = confusion_matrix(ground_truth, fused, 4, IGNORE)
    assert (confusion[range(3), range(3)].sum(axis=0) == expected).all()
    assert scores["mIoU"] == pytest.approx(100 * compute_semantic_scores(expected).mean_iou)
    for level, stride in enumerate(STRIDES):
        alone = compute_semantic_scores(confusion_matrix(ground_truth, labels[level], 4, IGNORE))
        assert [scores[f"IoU_{stride}-{name}"] for name in CLASSES] == pytest.approx(100 * alone.iou)


def test_level_without_pixels_has_no_score(hand: tuple[LevelEvaluator, dict, dict]) -> None:
    evaluator, record, output = hand
    output["semantic_maps"]["levels"].values[:] = 0
    scores = run(evaluator, [record], [output])["levels"]
    assert (scores["share_4"], scores["share_2"]) == (100, 0)
    assert math.isnan(scores["mIoU_2_2"]) and math.isnan(scores["mIoU_2_4"])
    assert scores["mIoU"] == scores["mIoU_4"] == scores["mIoU_4_4"] == pytest.approx(30)


def test_outputs_without_maps_give_no_scores(hand: tuple[LevelEvaluator, dict, dict], streets: Streets) -> None:
    """As in sliding windows or with several views; the file of an earlier evaluation is deleted."""
    evaluator, record, output = hand
    assert run(evaluator, [record], [output]) and (evaluator.output_folder / "levels.npz").is_file()
    assert run(evaluator, [record], [{"sem_seg_labels": torch.zeros(4, 4)}]) == {}
    assert not (evaluator.output_folder / "levels.npz").exists()
    other = record_of(streets.folder, np.zeros((4, 4)), "other")
    evaluator = LevelEvaluator(streets.table, [record, other], streets.folder / "out", (4, 2))
    assert run(evaluator, [record, other], [output, {}]) == {}


def test_items_can_be_pickled_and_are_checked(hand: tuple[LevelEvaluator, dict, dict]) -> None:
    evaluator, record, output = hand
    item = pickle.loads(pickle.dumps(evaluator.score_image(record, output)))
    assert evaluator.summarize({"street": item})["levels"]["share_4"] == pytest.approx(100 * 8 / 15)
    with pytest.raises(ValueError, match=r"levels: 16 valid pixels expected, got \[15, 15\]"):
        evaluator.summarize({"street": item._replace(valid_pixels=16)})


class TestRefuses:
    def test_missing_maps(self, hand: tuple[LevelEvaluator, dict, dict]) -> None:
        evaluator, record, output = hand
        evaluator.strides = (8, 4)
        with pytest.raises(ValueError, match=r"'street': semantic_maps must have \['labels_8'\]"):
            evaluator.process([record], [output])

    def test_ground_truth_of_another_size(self, hand: tuple[LevelEvaluator, dict, dict]) -> None:
        evaluator, record, output = hand
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(record["sem_seg_file_name"])
        with pytest.raises(DataError, match=r"street_labels\.png: 4x5 pixels, its image has 4x4"):
            evaluator.process([record], [output])

    def test_class_out_of_range(self, hand: tuple[LevelEvaluator, dict, dict]) -> None:
        evaluator, record, output = hand
        output["semantic_maps"]["labels_2"].values[0, 0] = 4
        with pytest.raises(DataError, match=r"street_labels\.png: .*\[4\]"):
            evaluator.process([record], [output])

    def test_level_out_of_range(self, hand: tuple[LevelEvaluator, dict, dict]) -> None:
        evaluator, record, output = hand
        output["semantic_maps"]["levels"].values[1, 1] = 2
        with pytest.raises(DataError, match=r"street_labels\.png: assigned levels must be in 0 \.\. 1, got 0 \.\. 2"):
            evaluator.process([record], [output])

    def test_ground_truth_without_labels(self, hand: tuple[LevelEvaluator, dict, dict]) -> None:
        evaluator, record, output = hand
        Image.fromarray(np.full((4, 4), IGNORE, np.uint8)).save(record["sem_seg_file_name"])
        scores = run(evaluator, [record], [output])["levels"]
        assert {"mIoU", "share_4", "IoU-car"} <= scores.keys()
        assert np.isnan(list(scores.values())).all()


def test_every_level_counts_every_pixel_once() -> None:
    ground_truth = draw_street().semantic
    rng = np.random.default_rng(0)
    levels, labels = rng.integers(0, 4, ground_truth.shape), [rng.integers(0, 4, ground_truth.shape) for _ in range(4)]
    counts = count_level_confusion(ground_truth, levels, labels, 4, IGNORE).sum(axis=(0, 2, 3))
    assert counts.tolist() == [7680] * 4  # see drawn_streets


def test_evaluation_of_a_model_scores_the_levels(tiny_config: CfgNode, tmp_path: Path) -> None:
    cfg, head = tiny_config, tiny_config.MODEL.SEM_SEG_HEAD
    without_detector(cfg)
    head.NAME, head.PYRAMID.UNITY_DIM, head.PYRAMID.THRESHOLD = "PyramidalOutputHead", 16, 0.4
    cfg.MODEL.UNIFIED.OUTPUT = "compact"
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 75, 150  # 64 x 128 pixels become 75 x 150
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, tmp_path / "weights.pth")
    results = evaluate(cfg, tmp_path / "weights.pth")
    assert results.keys() == {"sem_seg", "levels"}
    scores, strides = results["levels"], (32, 16, 8, 4)
    shares = [scores[f"share_{s}"] for s in strides]
    assert sum(shares) == pytest.approx(100) and max(shares) < 100  # else the test would be weak
    assert len([key for key in scores if key.startswith("mIoU_")]) == 4 * 4 + 4
    assert {f"IoU_{s}-traffic light" for s in strides} <= scores.keys()
    assert "share of pixels" in (Path(cfg.OUTPUT_DIR) / "log.txt").read_text()
    # The two differ by the interpolation between cells.
    assert abs(scores["mIoU"] - results["sem_seg"]["mIoU"]) < 5
    # Outputs of windows and of the finest level alone have no maps of levels.
    assert evaluate(cfg, tmp_path / "weights.pth", "TEST.WINDOW.SIZE", "64").keys() == {"sem_seg"}
    finest = evaluate(cfg, tmp_path / "weights.pth", "MODEL.SEM_SEG_HEAD.PYRAMID.OUTPUT", "finest")
    assert finest.keys() == {"sem_seg"}
