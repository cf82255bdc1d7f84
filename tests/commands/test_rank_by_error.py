"""tools/rank_by_error.py, on the hand-drawn data set and a small model with random weights."""

import csv
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from random_model import write_random_model, write_result_of_training
from scipy.stats import spearmanr

from unified_seg.commands import rank_by_error
from unified_seg.config import load_config
from unified_seg.data.io.image_files import read_image
from unified_seg.data.io.label_files import read_label
from unified_seg.data.resolve import resolve_config
from unified_seg.inference import Predictor
from unified_seg.structures.logit_map import LogitMap
from unified_seg_cli.commands.rank_by_error import main, parse_args

pytestmark = pytest.mark.end_to_end

ROAD, SKY = 0, 10  # Cityscapes' semantic ids


@pytest.fixture
def command(correcting_config, tmp_path):
    """Builds a command line about a model with random weights."""
    config, weights = write_random_model(correcting_config, tmp_path)

    def build(*arguments: object, opts: tuple = ()) -> list[str]:
        words = ["--config-file", config, "--output", tmp_path / "out", *arguments]
        return [str(word) for word in [*words, "--opts", "MODEL.WEIGHTS", weights, *opts]]

    return build


def read_ranking(folder: Path) -> list[dict[str, str]]:
    with (folder / "ranking.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_data_set_is_ranked_and_compared_with_ground_truth(command, tiny_dataset, tmp_path, capsys):
    main(command("--dataset", tiny_dataset.train, "--top", 3, "--no-diversity"))
    rows = read_ranking(tmp_path / "out")
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    predicted = [float(row["predicted_error"]) for row in rows]
    assert predicted == sorted(predicted, reverse=True) and len(set(predicted)) == 4
    # The same numbers from the predictions of the model.
    predictor = Predictor(resolve_config(load_config(tmp_path / "config.yaml", command()[-2:])))
    ground_truth_of = {r["file_name"]: r["sem_seg_file_name"] for r in DatasetCatalog.get(tiny_dataset.train)}
    for row in rows:
        maps = predictor(read_image(row["file_name"]))["semantic_logit_maps"]
        probability = maps["error"].logits((64, 128))[0].sigmoid()
        probabilities = maps["uncorrected"].logits((64, 128)).softmax(0)
        ground_truth = torch.from_numpy(read_label(ground_truth_of[row["file_name"]])).long()
        expected = {
            "predicted_error": probability.mean(),
            "predicted_error_share": (probability > 0.5).float().mean(),
            "mean_entropy": -(probabilities * probabilities.log()).sum(0).mean() / math.log(19),
            "true_error": (probabilities.argmax(0) != ground_truth)[ground_truth != 255].float().mean(),
        }
        assert {name: float(row[name]) for name in expected} == pytest.approx(
            {name: float(value) for name, value in expected.items()}, abs=2e-6
        )
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["images"], summary["images_with_ground_truth"], summary["threshold"]) == (4, 4, 0.5)
    assert summary["dataset"] == tiny_dataset.train
    columns = {name: [float(row[name]) for row in rows] for name in rows[0] if name not in ("rank", "file_name")}
    assert summary["mean"] == pytest.approx({name: np.mean(values) for name, values in columns.items()}, abs=2e-6)
    found = summary["rank_correlation"]
    for name in ("predicted_error", "mean_entropy"):
        assert found[name]["value"] == pytest.approx(spearmanr(columns[name], columns["true_error"]).statistic)
        assert -1 <= found[name]["low"] <= found[name]["high"] <= 1
    difference = found["predicted_error"]["value"] - found["mean_entropy"]["value"]
    assert found["difference"]["value"] == pytest.approx(difference)
    assert "rank correlation with the true error over 4 images" in capsys.readouterr().out
    # Three tiles of four cells of 256 x 128 under captions of their own and of the tile, 4 pixels apart; a legend.
    height, width = cv2.imread(str(tmp_path / "out" / "contact_sheet.jpg")).shape[:2]
    assert width == 4 * 256 + 3 * 4 and 0 < height - (3 * (128 + 2 * 22) + 2 * 4) < 100


@pytest.fixture
def predictions(monkeypatch) -> dict[int, tuple[float, float, float]]:
    """The predictions of a stub model by the brightness of an image: error probability of the left half, error
    probability of the right half, and probability of road everywhere; the rest of the probability is for sky."""
    fixed: dict[int, tuple[float, float, float]] = {}

    def predict(image: np.ndarray) -> dict[str, Any]:
        left, right, road = fixed[int(image[0, 0, 0])]
        error = torch.cat([torch.full((1, 64, 64), p) for p in (left, right)], dim=2).logit()
        logits = torch.full((19, 64, 128), -100.0)
        logits[[ROAD, SKY]] = torch.tensor([road, 1 - road]).clamp(min=1e-30).log()[:, None, None]
        maps = {"error": error, "error_unbalanced": error, "uncorrected": logits}
        labels = torch.full((64, 128), ROAD if road > 0.5 else SKY)
        whole = {name: LogitMap.from_logits(values, 1, (64, 128)) for name, values in maps.items()}
        return {"sem_seg_labels": labels, "semantic_logit_maps": whole}

    class Stub(rank_by_error.Predictor):
        read = staticmethod(read_image)
        model, at_once = torch.nn.Identity(), 0

        def __init__(self, cfg: CfgNode):
            self.metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])

        def __call__(self, image: np.ndarray) -> dict[str, Any]:
            return predict(image)

    monkeypatch.setattr(rank_by_error, "Predictor", Stub)
    return fixed


def write_gray(folder: Path, brightness: int, size: tuple[int, int] = (64, 128)) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"gray_{brightness}.png"
    assert cv2.imwrite(str(file), np.full((*size, 3), brightness, np.uint8))
    return file


def test_the_most_wrong_image_comes_first(command, predictions, tmp_path, capsys):
    # Means of the error probability: 0.3, 0.55 and 0.3. Of two that are alike the first stays so.
    predictions |= {10: (0.5, 0.1, 0.5), 20: (0.2, 0.9, 1.0), 30: (0.5, 0.1, 0.8)}
    for brightness in predictions:
        write_gray(tmp_path / "images", brightness)
    main(command("--input", tmp_path / "images"))
    rows = read_ranking(tmp_path / "out")
    assert rows[0].keys() == {"rank", "file_name", "predicted_error", "predicted_error_share", "mean_entropy"}
    assert [Path(row["file_name"]).name for row in rows] == ["gray_20.png", "gray_10.png", "gray_30.png"]
    assert [float(row["predicted_error"]) for row in rows] == pytest.approx([0.55, 0.3, 0.3], abs=1e-6)
    # Above 0.5, and not just at it.
    assert [float(row["predicted_error_share"]) for row in rows] == pytest.approx([0.5, 0, 0])
    # A coin's entropy is log 2.
    skewed = -0.8 * math.log(0.8) - 0.2 * math.log(0.2)
    expected = [0, math.log(2) / math.log(19), skewed / math.log(19)]
    assert [float(row["mean_entropy"]) for row in rows] == pytest.approx(expected, abs=1e-6)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["images_with_ground_truth"] == 0 and "rank_correlation" not in summary
    assert summary["mean"].keys() == {"predicted_error", "predicted_error_share", "mean_entropy"}
    assert "correlation" not in capsys.readouterr().out
    # Three pictures in a row: there are no true errors.
    assert cv2.imread(str(tmp_path / "out" / "contact_sheet.jpg")).shape[1] == 3 * 256 + 2 * 4


@pytest.fixture
def gray_dataset(tiny_dataset, tmp_path):
    """Three images: the upper half of the first is sky, the second is road, the third is not labeled."""
    name, records = "unified_test_gray", []
    labels = np.full((3, 64, 128), ROAD, np.uint8)
    labels[0, :32], labels[2] = SKY, 255
    for index, ground_truth in enumerate(labels):
        file = write_gray(tmp_path / "gray", index)
        label = file.with_name(f"labels_{index}.png")
        assert cv2.imwrite(str(label), ground_truth)
        records.append({"file_name": str(file), "image_id": index, "sem_seg_file_name": str(label)})
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(
        **{k: v for k, v in MetadataCatalog.get(tiny_dataset.val).as_dict().items() if k != "name"}
    )
    yield name, records
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_the_true_error_is_measured_before_correction(command, predictions, gray_dataset, tmp_path, capsys):
    predictions |= {0: (0.2, 0.2, 0.9), 1: (0.1, 0.1, 0.8), 2: (0.3, 0.3, 0.9)}
    main(command("--dataset", gray_dataset[0]))
    rows = read_ranking(tmp_path / "out")
    # Road everywhere: half of the first image is wrong, nothing of the second; of the third nobody knows.
    assert [row["true_error"] for row in rows] == ["", "0.500000", "0.000000"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["images"], summary["images_with_ground_truth"], summary["mean"]["true_error"]) == (3, 2, 0.25)
    # The predicted error has the two in their order, the entropy (0.8 is less sure) has not; a resample of one image
    # drawn twice has no order.
    found = summary["rank_correlation"]
    assert found["predicted_error"] == pytest.approx({"value": 1, "low": 1, "high": 1})
    assert found["mean_entropy"] == pytest.approx({"value": -1, "low": -1, "high": -1})
    assert found["difference"] == pytest.approx({"value": 2, "low": 2, "high": 2})
    assert "over 2 images, 95 % interval: predicted error +1.000 [+1.000, +1.000]" in capsys.readouterr().out


def test_without_ground_truth_there_is_no_true_error(command, predictions, gray_dataset, tmp_path):
    predictions |= {i: (0.1 * i + 0.1, 0.1, 0.9) for i in range(3)}
    for record in gray_dataset[1]:
        del record["sem_seg_file_name"]
    main(command("--dataset", gray_dataset[0]))
    rows = read_ranking(tmp_path / "out")
    assert "true_error" not in rows[0] and [Path(row["file_name"]).stem for row in rows] == [
        "gray_2",
        "gray_1",
        "gray_0",
    ]


def test_equal_errors_have_no_rank_correlation(command, predictions, gray_dataset, tmp_path, capsys):
    predictions |= dict.fromkeys(range(3), (0.1, 0.1, 0.9))
    main(command("--dataset", gray_dataset[0]))
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["rank_correlation"]
    assert found["predicted_error"] == {"value": None, "low": None, "high": None}
    assert "predicted error +nan" in capsys.readouterr().out


def test_the_correlations_go_into_a_readme(command, predictions, gray_dataset, tmp_path):
    predictions |= {0: (0.1, 0.2, 0.9), 1: (0.2, 0.3, 0.9), 2: (0.3, 0.4, 0.9)}
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- ranking:begin -->\nold\n<!-- ranking:end -->\nafter\n")
    main(command("--dataset", gray_dataset[0], "--into", readme))
    value = json.loads((tmp_path / "out" / "summary.json").read_text())["rank_correlation"]["predicted_error"]["value"]
    content = readme.read_text()
    assert content.startswith("before\n") and content.endswith("-->\nafter\n") and "old" not in content
    assert (
        f"| predicted error | {value:+.3f} [" in " ".join(content.split())
        and f"2 images of `{gray_dataset[0]}`" in content
    )
    readme.write_text("no place")
    with pytest.raises(SystemExit, match=r"ReportingError: .*README\.md: expected <!-- ranking:begin -->"):
        main(command("--dataset", gray_dataset[0], "--into", readme))


def test_large_images_fill_the_same_tiles(command, predictions, gray_dataset, tmp_path):
    model = rank_by_error.ErrorPredictor(rank_by_error.setup(parse_args(command("--dataset", gray_dataset[0]))))
    predictions |= {0: (0.2, 0.9, 0.9)}
    record = gray_dataset[1][0]
    write_gray(tmp_path / "gray", 0, (650, 1300))
    assert cv2.imwrite(record["sem_seg_file_name"], np.repeat(np.uint8([SKY, ROAD]), 325)[:, None].repeat(1300, 1))
    with pytest.MonkeyPatch.context() as patch:
        fixed = model.predictor(np.zeros((1, 1, 3), np.uint8))
        labels = torch.full((650, 1300), ROAD)
        patch.setattr(type(model.predictor), "__call__", lambda self, image: fixed | {"sem_seg_labels": labels})
        ((_, future),) = model.draw_all([record], (128, 256))
    pictures = [picture.pixels for picture in future.result()[0]]
    # The last two are error probabilities, dark and bright, and true errors.
    assert [picture.shape for picture in pictures] == [(128, 256, 3)] * 4
    assert [pictures[2][60, column].tolist() for column in (10, 240)] == [[51, 0, 0], [230, 0, 0]]
    assert [pictures[3][y, 100].tolist() for y in (10, 100)] == [[255, 0, 0], [0, 0, 0]]


def test_the_pictures_of_an_earlier_ranking_are_not_ranked(command, predictions, tmp_path, capsys):
    images = write_gray(tmp_path / "images", 10).parent
    predictions[10] = (0.3, 0.3, 0.3)
    for _ in range(2):
        main(command("--input", images, "--output", images / "ranking"))
        assert "1 images ranked" in capsys.readouterr().out


def test_the_last_stage_of_a_config_is_used(command, predictions, tmp_path):
    predictions[10] = (0.2, 0.6, 0.9)
    stages = ("SOLVER.STAGES", "['detail']", "STAGES.detail.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.THRESHOLD", 0.7)
    main(command("--input", write_gray(tmp_path / "images", 10), opts=stages))
    assert read_ranking(tmp_path / "out")[0]["predicted_error_share"] == "0.000000"  # 0.5 outside the stage
    window = ("STAGES.detail.TEST.WINDOW.SIZE", 64)
    with pytest.raises(SystemExit, match=r"ConfigError: TEST\.WINDOW\.SIZE"):
        main(command("--input", tmp_path / "images", opts=(*stages, *window)))


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (("TEST.AUG.ENABLED", True), r"TEST\.AUG\.ENABLED: must be False"),
        (("TEST.WINDOW.SIZE", 64), r"TEST\.WINDOW\.SIZE: must be 0"),
        (("NO.SUCH.KEY", 1), "config key NO"),
    ],
)
def test_windows_and_augmentation_are_refused(command, tiny_dataset, opts, message):
    with pytest.raises(SystemExit, match=f"ConfigError: .*{message}"):
        main(command("--dataset", tiny_dataset.val, opts=opts))


def use_plain_head(config: CfgNode, folder: Path) -> None:
    """Replace the model of a command by one without an error branch."""
    head = config.MODEL.SEM_SEG_HEAD
    head.NAME = head.ERROR_CORRECTION.BASE
    write_random_model(config, folder)


@pytest.mark.parametrize("opts", [(), ("TEST.WINDOW.SIZE", 64)])
def test_a_model_without_an_error_branch_ranks_by_entropy(
    command, correcting_config, tiny_dataset, tmp_path, capsys, opts
):
    use_plain_head(correcting_config, tmp_path)
    main(command("--dataset", tiny_dataset.train, "--top", 2, opts=opts))
    rows = read_ranking(tmp_path / "out")
    assert rows[0].keys() == {"rank", "file_name", "mean_entropy", "true_error"}
    entropies = [float(row["mean_entropy"]) for row in rows]
    # Two of the four, the most unsure one among them, come first; then the others.
    assert entropies[0] == max(entropies) and entropies[:2] == sorted(entropies[:2], reverse=True)
    words = [*command(opts=opts)[-2 - len(opts) :], "MODEL.UNIFIED.OUTPUT", "detectron2"]
    cfg = load_config(tmp_path / "config.yaml", words)
    logits = Predictor(resolve_config(cfg))(read_image(rows[0]["file_name"]))["sem_seg"]
    probabilities = logits.softmax(0)
    expected = -(probabilities * probabilities.log()).sum(0).mean() / math.log(19)
    assert entropies[0] == pytest.approx(float(expected), abs=2e-6)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["rank_correlation"]["predicted_error"]["value"] is None
    assert summary["mean"].keys() == {"mean_entropy", "true_error"}
    printed = capsys.readouterr().out
    assert "ranked by entropy" in printed and "predicted error" not in printed


def test_a_checkpoint_ranks_without_its_config_file(
    command, correcting_config, tiny_dataset, tmp_path, forget_datasets
):
    source = ("--dataset", tiny_dataset.train, "--top", 2)
    main(command(*source))
    expected = read_ranking(tmp_path / "out")
    weights = write_result_of_training(correcting_config, tmp_path)
    main([str(word) for word in ["--weights", weights, *source, "--output", tmp_path / "other"]])
    assert read_ranking(tmp_path / "other") == expected
    assert json.loads((tmp_path / "other/summary.json").read_text())["config"] is None


def test_a_detector_ranks_by_the_scores_of_its_detections(tiny_config, tiny_dataset, tmp_path):
    cfg = tiny_config
    cfg.MODEL.SEM_SEG_HEAD.NAME = cfg.MODEL.PANOPTIC_FUSION.NAME = ""
    config, weights = write_random_model(cfg, tmp_path)
    words = ["--config-file", config, "--output", tmp_path / "out", "--dataset", tiny_dataset.val]
    main([str(word) for word in [*words, "--opts", "MODEL.WEIGHTS", weights]])
    rows = read_ranking(tmp_path / "out")
    assert rows[0].keys() == {"rank", "file_name", "mean_entropy"} and len(rows) == 2
    assert (tmp_path / "out" / "contact_sheet.jpg").is_file()


def test_errors_are_one_line(command, tiny_dataset, tmp_path):
    with pytest.raises(SystemExit, match=r"DataError: --input .*absent"):
        main(command("--input", tmp_path / "absent"))
    with pytest.raises(SystemExit, match=r"ConfigError: DATASETS\.TEST: .*'no_such_set'"):
        main(command("--dataset", "no_such_set"))
    with pytest.raises(SystemExit, match=r"CheckpointError: weights .*absent\.pth"):
        main(command("--dataset", tiny_dataset.val, opts=("MODEL.WEIGHTS", "absent.pth")))
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"DataError: --output: .*file"):
        main(command("--dataset", tiny_dataset.val, "--output", tmp_path / "file"))


def test_predictions_that_are_not_finite_are_refused(command, predictions, tmp_path):
    predictions[10] = (math.nan, 0.1, 0.5)
    with pytest.raises(SystemExit, match=r"DataError: .*gray_10\.png: .* logits that are not finite"):
        main(command("--input", write_gray(tmp_path / "images", 10)))


@pytest.mark.parametrize(
    "arguments",
    [("--dataset", "a", "--top", "0"), ("--dataset", "a", "--input", "b"), ("--input", "a", "--into", "b"), ()],
)
def test_wrong_arguments_are_refused(command, arguments, capsys):
    with pytest.raises(SystemExit):
        parse_args(command(*arguments))
    assert capsys.readouterr().err


def test_a_name_that_is_no_text_does_not_lose_the_ranking(command, tiny_dataset, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    source = DatasetCatalog.get(tiny_dataset.val)[0]["file_name"]
    for name in (b"plain.png", b"=strange \xff.png"):
        shutil.copy(source, os.path.join(os.fsencode(folder), name))
    main(command("--input", folder))
    names = {Path(row["file_name"]).name for row in read_ranking(tmp_path / "out")}
    assert names == {"plain.png", r"=strange \udcff.png"}
    assert (tmp_path / "out" / "contact_sheet.jpg").is_file() and (tmp_path / "out" / "summary.json").is_file()
