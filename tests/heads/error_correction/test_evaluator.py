import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from config_runs import evaluate
from detectron2.config import CfgNode
from drawn_streets import IGNORE, ROAD, SIZE, SKY, Streets, draw_street, record_of, run
from model_parts import without_detector
from PIL import Image

from unified_seg.data.problems import DataError
from unified_seg.evaluation.results import save_results
from unified_seg.heads import ErrorCorrectionHead
from unified_seg.heads.error_correction.evaluator import SHOWN, ErrorEvaluator
from unified_seg.heads.error_correction.scores import format_scores
from unified_seg.meta_arch import build_model
from unified_seg.structures.logit_map import LogitMap


def logits_of(probabilities: list[float]) -> torch.Tensor:
    return torch.tensor(probabilities).logit()


def output_of(
    uncorrected: torch.Tensor, error: torch.Tensor, stride: int = 1, size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Return the output of logits (K, h, w) and (1, h, w), whose size is by default that of the image."""
    seen = size or (stride * error.shape[1], stride * error.shape[2])
    maps = {"uncorrected": uncorrected, "error": error}
    return {"semantic_logit_maps": {name: LogitMap.from_logits(logits, stride, seen) for name, logits in maps.items()}}


def evaluator_of(streets: Streets, records: list[dict[str, Any]], threshold: float = 0.7) -> ErrorEvaluator:
    return ErrorEvaluator(streets.table, records, streets.folder / "out", threshold=threshold, hard_confidence=0.95)


# Each pixel: its true label, the probability of road, which is predicted (the other two classes have none), and its
# error probability.
PIXELS = [
    (SKY, 0.985, 0.745),  # a hard error
    (SKY, 0.985, 0.155),  # a hard error
    (SKY, 0.555, 0.905),  # an easy error
    (SKY, 0.655, 0.555),  # an easy error
    (ROAD, 0.755, 0.205),
    (ROAD, 0.555, 0.745),
    (ROAD, 0.985, 0.045),
    (IGNORE, 0.555, 0.905),
]


def output_of_pixels() -> dict[str, Any]:
    uncorrected = torch.full((4, 2, 4), -100.0)
    uncorrected[ROAD] = logits_of([p for _, p, _ in PIXELS]).view(2, 4)
    uncorrected[SKY] = 0
    return output_of(uncorrected, logits_of([p for _, _, p in PIXELS]).view(1, 2, 4))


@pytest.fixture
def hand(streets: Streets) -> tuple[ErrorEvaluator, dict, dict]:
    record = record_of(streets.folder, np.array([true for true, _, _ in PIXELS]).reshape(2, 4))
    return evaluator_of(streets, [record], threshold=0.725), record, output_of_pixels()


def test_scores_match_hand_computed_ones(hand: tuple[ErrorEvaluator, dict, dict]) -> None:
    evaluator, record, output = hand
    scores = run(evaluator, [record], [output])["errors"]
    expected = {
        # 4 of 7 pixels are wrong, 2 of them with a confidence above 0.95.
        "error_rate": 4 / 7,
        "hard_ratio": 2 / 4,
        "threshold": 0.725,
        # Above 0.725: 2 of the 4 errors, one of the 2 hard ones, and 1 right pixel.
        "IoU": 2 / 5,
        "precision": 2 / 3,
        "recall": 2 / 4,
        "hard_recall": 1 / 2,
        # All errors are found above 0.05 to 0.15, with 2 right pixels: 4 / 6; above 0.2 3 of them with the same: 3 / 6,
        # above 0.5 with one: 3 / 5; above 0.6 as above 0.725; above 0.8 one error and nothing else.
        "best_IoU": 4 / 6,
        "best_threshold": 0.05,
        "IoU-0.1": 4 / 6,
        "IoU-0.2": 3 / 6,
        "IoU-0.5": 3 / 5,
        "IoU-0.6": 2 / 5,
        "IoU-0.8": 1 / 4,
        "hard_recall-0.1": 1,
        "hard_recall-0.2": 1 / 2,
        "hard_recall-0.8": 0,
        # 1 - confidence: errors 0.015, 0.015, 0.445, 0.345, right pixels 0.245, 0.445, 0.015; nothing is above 0.725.
        "confidence_IoU": 0,
        "confidence_recall": 0,
        "confidence_hard_recall": 0,
        # Above 0.01 everything is found: 4 / 7. Above 0.3: 2 errors and 1 right pixel.
        "confidence_best_IoU": 4 / 7,
        "confidence_best_threshold": 0.01,
        "confidence_IoU-0.1": 2 / 6,
        "confidence_IoU-0.3": 2 / 5,
        "confidence_IoU-0.4": 1 / 5,
        "confidence_hard_recall-0.1": 0,
    }
    assert {key: scores[key] / 100 for key in expected} == pytest.approx(expected)
    assert math.isnan(scores["confidence_precision"])
    assert scores.keys() >= {f"{prefix}hard_recall-{t}" for prefix in ("", "confidence_") for t in SHOWN}
    reported = ErrorCorrectionHead.ablation_metrics.values()
    assert all(metric in scores for task, metric, _ in reported if task == "errors")


def test_file_has_the_counts_of_both_sources(hand: tuple[ErrorEvaluator, dict, dict]) -> None:
    evaluator, record, output = hand
    run(evaluator, [record], [output])
    saved = np.load(evaluator.output_folder / "errors.npz")
    assert saved["sources"].tolist() == ["predicted", "confidence"]
    thresholds = saved["thresholds"]
    assert len(thresholds) == 100 and {0.01, 0.7, 0.725, 0.99} <= set(thresholds.tolist())
    assert saved["counts"].shape == (2, 3, 101) and saved["counts"].dtype == np.int64
    # The hard errors are above 74 hundredths and 0.725, above 15 hundredths, and by confidence both above 0.01.
    assert [np.flatnonzero(of_hard).tolist() for of_hard in saved["counts"][:, 2]] == [[15, 75], [1]]
    assert saved["counts"].sum(axis=2).tolist() == [[3, 2, 2]] * 2


def test_table_shows_the_scores_of_every_threshold(hand: tuple[ErrorEvaluator, dict, dict], tmp_path: Path) -> None:
    evaluator, record, output = hand
    results = {"streets": run(evaluator, [record], [output])}
    lines = format_scores(results["streets"]["errors"]).splitlines()
    assert lines[0] == "errors found: 57.14 % of the pixels are wrong, 50.00 % of these hard"
    rows = [line.split() for line in lines[3:]]
    assert rows[0] == ["10", "66.67", "100.00", "33.33", "0.00"]
    assert rows[7] == ["80", "25.00", "0.00", "0.00", "0.00"]
    assert rows[9] == ["set:", "72.5", "40.00", "50.00", "0.00", "0.00"]
    assert rows[10] == ["best", "66.67", "57.14"] and len(rows) == 12
    # NaN becomes null.
    saved = save_results(tmp_path / "results.json", results, eval_s=1, weights="w")
    assert json.loads((tmp_path / "results.json").read_text()) == saved


@pytest.mark.parametrize("size", [(37, 53), (20, 31)])
def test_scores_equal_a_plain_reference(streets: Streets, size: tuple[int, int]) -> None:
    """Two images of another size than the network's input, at stride 4."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    records, outputs = [], []
    for index, seen in enumerate([(37, 53), (30, 50)]):
        records.append(record_of(streets.folder, rng.choice([0, 1, 2, 3, IGNORE], size), f"street_{index}"))
        logits = 4 * torch.randn(5, 10, 14, generator=generator)
        outputs.append(output_of(logits[:4], logits[4:], 4, seen))
    scores = run(evaluator_of(streets, records), records, outputs)["errors"]
    pixels = []
    for record, output in zip(records, outputs):
        maps = output["semantic_logit_maps"]
        own = maps["uncorrected"].logits(size).softmax(0).numpy()
        error = maps["error"].logits(size)[0].sigmoid().numpy()
        for at, true in np.ndenumerate(np.array(Image.open(record["sem_seg_file_name"]))):
            if true != IGNORE:
                confidence = own[:, *at].max()
                pixels.append((own[:, *at].argmax() != true, confidence > 0.95, error[at], 1 - confidence))
    wrong, hard, *by_source = (np.array(values) for values in zip(*pixels))
    assert scores["error_rate"] == pytest.approx(100 * wrong.mean())
    assert scores["hard_ratio"] == pytest.approx(100 * hard[wrong].mean())
    for prefix, values in zip(("", "confidence_"), by_source):
        for t in SHOWN:
            found = values > np.float32(t)
            assert scores[f"{prefix}IoU-{t}"] == pytest.approx(100 * (found & wrong).sum() / (found | wrong).sum())
            assert scores[f"{prefix}hard_recall-{t}"] == pytest.approx(100 * found[wrong & hard].mean())
        assert scores[f"{prefix}IoU"] == scores[f"{prefix}IoU-0.7"]
        best, t = scores[f"{prefix}best_IoU"], scores[f"{prefix}best_threshold"] / 100
        found = values > np.float32(t)
        assert best == pytest.approx(100 * (found & wrong).sum() / (found | wrong).sum())
        assert best >= max(scores[f"{prefix}IoU-{t}"] for t in SHOWN)


def test_perfect_and_constant_error_branches(streets: Streets) -> None:
    """The whole street is predicted as sky with a logit of 20, so that 1 - confidence is 6e-9."""
    ground_truth = draw_street().semantic
    record = record_of(streets.folder, ground_truth)
    sky = torch.zeros(4, *SIZE)
    sky[SKY] = 20
    wrong = torch.from_numpy(ground_truth != SKY)[None]
    scores = run(evaluator_of(streets, [record]), [record], [output_of(sky, wrong * 40.0 - 20)])["errors"]
    # 3956 of 7680 labeled pixels are sky; see drawn_streets.
    assert scores["error_rate"] == pytest.approx(100 * (7680 - 3956) / 7680)
    assert [scores[key] for key in ("hard_ratio", "IoU", "hard_recall", "IoU-0.1", "best_IoU")] == [100] * 5
    assert scores["confidence_IoU"] == scores["confidence_best_IoU"] == 0
    constant = run(evaluator_of(streets, [record]), [record], [output_of(sky, torch.full((1, *SIZE), -20.0))])["errors"]
    assert [constant[key] for key in ("IoU", "best_IoU", "hard_recall", "recall")] == [0] * 4


def test_scores_without_errors_are_nan(streets: Streets) -> None:
    record = record_of(streets.folder, np.full((4, 4), ROAD))
    road = torch.zeros(4, 4, 4)
    road[ROAD] = 300
    scores = run(evaluator_of(streets, [record]), [record], [output_of(road, torch.full((1, 4, 4), -9.0))])["errors"]
    assert scores["error_rate"] == 0
    undefined = ("hard_ratio", "IoU", "hard_recall", "best_IoU", "best_threshold", "confidence_best_threshold")
    assert all(math.isnan(scores[key]) for key in undefined)
    Image.fromarray(np.full((4, 4), IGNORE, np.uint8)).save(record["sem_seg_file_name"])
    nothing = run(evaluator_of(streets, [record]), [record], [output_of(road, torch.zeros(1, 4, 4))])["errors"]
    assert math.isnan(nothing["error_rate"])


def test_scores_of_void_alone_are_nan(streets: Streets) -> None:
    record = record_of(streets.folder, np.full((2, 4), IGNORE))
    scores = run(evaluator_of(streets, [record]), [record], [output_of_pixels()])["errors"]
    assert {name for name, score in scores.items() if not np.isnan(score)} == {"threshold"}


def test_outputs_without_maps_give_no_scores(hand: tuple[ErrorEvaluator, dict, dict], streets: Streets) -> None:
    """As in sliding windows or with several views; the file of an earlier evaluation is deleted."""
    evaluator, record, output = hand
    assert run(evaluator, [record], [output]) and (evaluator.output_folder / "errors.npz").is_file()
    assert run(evaluator, [record], [{"sem_seg_labels": torch.zeros(2, 4)}]) == {}
    assert not (evaluator.output_folder / "errors.npz").exists()
    other = record_of(streets.folder, np.zeros((4, 4)), "other")
    assert run(evaluator_of(streets, [record, other]), [record, other], [output, {}]) == {}


def test_items_can_be_pickled_and_are_checked(hand: tuple[ErrorEvaluator, dict, dict]) -> None:
    evaluator, record, output = hand
    item = pickle.loads(pickle.dumps(evaluator.score_image(record, output)))
    assert evaluator.summarize({"street": item})["errors"]["error_rate"] == pytest.approx(100 * 4 / 7)
    with pytest.raises(ValueError, match=r"errors: 8 valid pixels expected, got \[7, 7\]"):
        evaluator.summarize({"street": item._replace(valid_pixels=8)})
    # A pixel that is right for one source and wrong for the other.
    moved = item.entries.copy()
    moved[np.flatnonzero(moved < 101)[0]] += 101
    with pytest.raises(ValueError, match=r"by kind \[\[2, 3, 2\], \[3, 2, 2\]\]"):
        evaluator.summarize({"street": item._replace(entries=moved)})


class TestRefuses:
    def test_missing_maps(self, hand: tuple[ErrorEvaluator, dict, dict]) -> None:
        evaluator, record, output = hand
        del output["semantic_logit_maps"]["error"]
        with pytest.raises(ValueError, match=r"'street': semantic_logit_maps must have \['error'\]"):
            evaluator.process([record], [output])

    def test_error_probability_of_nan(self, hand: tuple[ErrorEvaluator, dict, dict]) -> None:
        evaluator, record, output = hand
        output["semantic_logit_maps"]["error"] = LogitMap.from_logits(torch.full((1, 2, 4), math.nan), 1, (2, 4))
        with pytest.raises(ValueError, match=r"'street': .* must be in \[0, 1\]"):
            evaluator.process([record], [output])

    def test_ground_truth_of_another_size(self, hand: tuple[ErrorEvaluator, dict, dict]) -> None:
        evaluator, record, output = hand
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(record["sem_seg_file_name"])
        with pytest.raises(DataError, match=r"street_labels\.png: 4x5 pixels, its image has 2x4"):
            evaluator.process([record], [output])


def test_evaluation_of_a_model_scores_labels_and_errors(tiny_config: CfgNode, tmp_path: Path) -> None:
    cfg, head = tiny_config, tiny_config.MODEL.SEM_SEG_HEAD
    without_detector(cfg)
    cfg.MODEL.UNIFIED.OUTPUT = "compact"
    head.ERROR_CORRECTION.BASE, head.NAME = head.NAME, "ErrorCorrectionHead"
    head.ERROR_CORRECTION.DETAIL_FEATURES = ["p4", "p3", "p2"]
    head.ERROR_CORRECTION.ERROR_DIM = head.ERROR_CORRECTION.DETAIL_DIM = 16
    head.ERROR_CORRECTION.THRESHOLD = 0.5  # near the probabilities of an untrained branch
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 75, 150  # 64 x 128 pixels become 75 x 150
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, tmp_path / "weights.pth")
    results = evaluate(cfg, tmp_path / "weights.pth")
    assert results.keys() == {"sem_seg", "sem_seg_uncorrected", "errors", "correction"}
    assert results["sem_seg"] != results["sem_seg_uncorrected"]
    scores = results["errors"]
    assert scores["error_rate"] == pytest.approx(100 - results["sem_seg_uncorrected"]["pACC"])
    assert 0 < scores["recall"] < 100 and scores["threshold"] == 50  # else the test would be weak
    correction = results["correction"]
    gain = results["sem_seg"]["pACC"] - results["sem_seg_uncorrected"]["pACC"]
    assert correction["fixed"] - correction["broken"] == pytest.approx(gain) and correction["fixed"] > 0
    log = (Path(cfg.OUTPUT_DIR) / "log.txt").read_text()
    assert "mIoU uncorrected" in log and "1 - confidence: IoU" in log
    # The base head alone has the uncorrected scores.
    base = head.ERROR_CORRECTION.BASE
    torch.save({"model": own_weights(tmp_path / "weights.pth")}, tmp_path / "base.pth")
    alone = evaluate(cfg, tmp_path / "base.pth", "MODEL.SEM_SEG_HEAD.NAME", base)
    assert alone == {"sem_seg": pytest.approx(results["sem_seg_uncorrected"], nan_ok=True)}
    # Outputs of windows have no maps.
    assert evaluate(cfg, tmp_path / "weights.pth", "TEST.WINDOW.SIZE", "64").keys() == {"sem_seg"}


def own_weights(file: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the base head and the backbone."""
    return {name: values for name, values in torch.load(file)["model"].items() if "_branch." not in name}
