"""The results of an evaluation: the file, and the tables on screen."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from unified_seg.evaluation import add_to_results, format_results, print_results, save_results

RESULTS = {
    "unified_streets_val": {
        "sem_seg": {"mIoU": 71.234, "pACC": np.float64(90), "IoU-road": 95.5, "IoU-traffic-light": math.nan},
        "segm": {"AP": 25.0, "AP50": 40.0, "AP-road": 12.5},
    },
    "unified_streets_heldout": {"sem_seg": {"mIoU": 60.0, "pACC": 80.0, "IoU-road": 61.0, "IoU-traffic-light": 59.0}},
}


def test_file_has_scores_versions_and_machine(tmp_path: Path):
    path = tmp_path / "inference" / "results.json"
    returned = save_results(path, RESULTS, eval_s=1.5, weights="model_final.pth")
    saved = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert saved == returned
    assert saved["results"]["unified_streets_val"]["sem_seg"] == {
        "mIoU": 71.234,
        "pACC": 90.0,
        "IoU-road": 95.5,
        "IoU-traffic-light": None,
    }
    assert (saved["eval_s"], saved["weights"]) == (1.5, "model_final.pth")
    assert set(saved["versions"]) == {"python", "torch", "detectron2", "numpy", "unified_seg"}
    assert saved["versions"]["torch"] == str(torch.__version__)
    assert saved["machine"].split(", ")[1].endswith(" cores")


def test_entries_are_added_to_an_existing_file(tmp_path: Path):
    path = tmp_path / "results.json"
    before = save_results(path, RESULTS, eval_s=1, weights="w")
    add_to_results(path, train_s=2.5)
    assert json.loads(path.read_text()) == {**before, "train_s": 2.5}


def test_training_time_is_kept_for_the_same_weights(tmp_path: Path):
    path = tmp_path / "results.json"
    save_results(path, RESULTS, eval_s=1, weights="w")
    add_to_results(path, train_s=2.5)
    assert save_results(path, RESULTS, eval_s=1, weights="w")["train_s"] == 2.5
    assert "train_s" not in save_results(path, RESULTS, eval_s=1, weights="others")
    path.write_text('{"train_s": 2')  # as a full disk may leave it
    assert "train_s" not in save_results(path, RESULTS, eval_s=1, weights="w")


def test_a_failed_write_leaves_the_older_file(tmp_path: Path):
    path = tmp_path / "results.json"
    save_results(path, RESULTS, eval_s=1, weights="old")
    with pytest.raises(ValueError, match=r"results\.json: .*JSON compliant"):
        save_results(path, RESULTS, eval_s=math.inf, weights="new")
    assert json.loads(path.read_text())["weights"] == "old"
    assert list(tmp_path.iterdir()) == [path]


def parse(text: str) -> list[list[list[str]]]:
    """The cells of the tables of a text: columns are at least two spaces apart, rules are left out."""
    lines = [[line for line in table.splitlines() if not line.startswith("--")] for table in text.split("\n\n")]
    return [[re.split(r"\s{2,}", line.strip()) for line in table] for table in lines]


def test_console_has_a_line_and_a_table_of_each_data_set(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    notes = {"unified_streets_val": ["AP counts up to 5 detections per image"]}
    with caplog.at_level("DEBUG", "unified_seg.evaluation"):
        print_results(RESULTS, notes)
    printed = capsys.readouterr().out
    line, table, other_line, _ = printed.split("\n\n")
    assert line.splitlines() == [
        "unified_streets_val: mIoU 71.23, pACC 90.00, mask AP 25.00, mask AP50 40.00",
        "AP counts up to 5 detections per image",
    ]
    assert parse(table)[0] == [
        ["class", "IoU", "mask AP"],
        ["mean of all", "71.23", "25.00"],
        ["road", "95.50", "12.50"],
        ["traffic-light", "-", "-"],
    ]
    assert other_line == "unified_streets_heldout: mIoU 60.00, pACC 80.00"
    assert format_results(RESULTS, notes) in caplog.text


def test_scores_within_a_training_are_a_line(capsys: pytest.CaptureFixture[str]):
    print_results({"streets": {"sem_seg": {"mIoU": 71.234}, "panoptic_seg": {"PQ": math.nan}}, "a": {}}, brief=True)
    assert capsys.readouterr().out == "streets: mIoU 71.23, PQ NaN\na: no scores\n"


def test_console_leaves_out_many_classes(capsys: pytest.CaptureFixture[str]):
    print_results({"d": {"sem_seg": {"mIoU": 50.0, **{f"IoU-{i}": 50.0 for i in range(150)}}}})
    (_, table) = parse(capsys.readouterr().out)
    assert table == [["150 classes, each in log.txt", "IoU"], ["mean of all", "50.00"]]


def test_tables_have_headline_scores_and_those_of_classes():
    headline, by_class, _ = parse(format_results(RESULTS))
    assert headline == [
        ["data set", "mIoU", "pACC", "mask AP", "mask AP50"],
        ["unified_streets_val", "71.23", "90.00", "25.00", "40.00"],
        ["unified_streets_heldout", "60.00", "80.00", "-", "-"],
    ]
    assert by_class == [
        ["unified_streets_val, by class"],
        ["class", "IoU", "mask AP"],
        ["road", "95.50", "12.50"],
        ["traffic-light", "-", "-"],
    ]


def test_recognition_has_a_table_of_groups():
    recognition = {}
    for number, suffix in enumerate(("", "_wide", "_category-vehicle", "-car", "-bus")):
        for column, metric in enumerate(("found", "pixels", "boxes", "pixels_fused")):
            recognition[metric + suffix] = 10.0 * number + column
    recognition["pixels_wide"] = recognition["found-bus"] = math.nan
    *_, (_, *table) = parse(format_results({"streets": {"recognition": recognition}}))
    assert table == [
        ["objects", "found", "pixels", "pixels fused", "boxes"],
        ["all objects", "0.00", "1.00", "3.00", "2.00"],
        ["wide objects", "10.00", "-", "13.00", "12.00"],
        ["vehicle", "20.00", "21.00", "23.00", "22.00"],
        ["car", "30.00", "31.00", "33.00", "32.00"],
    ]


def test_errors_of_instances_have_a_row():
    errors = {"Cls": 1.5, "Loc": 7.25, "Both": 0.0, "Dupe": 0.5, "Bkg": 0.25, "Miss": 2.0, "ECE": math.nan}
    *_, (title, *table) = parse(format_results({"streets": {"segm": {"AP": 25.0}, "errors_segm": errors}}))
    assert title[0].startswith("streets, points of AP50")
    assert table == [
        ["class", "place", "class and place", "duplicate", "background", "missed", "calibration"],
        ["1.50", "7.25", "0.00", "0.50", "0.25", "2.00", "-"],
    ]


def test_earlier_predictions_stand_beside_the_final_one():
    tasks = {
        "sem_seg": {"mIoU": 76.0, "mIoU_category": 88.0, "IoU-car": 90.0, "cIoU-vehicle": 95.0},
        "sem_seg_unfused": {"mIoU": 72.9, "mIoU_category": 87.0, "IoU-car": 85.0},
        "sem_seg_any": {"mIoU": 71.5, "IoU-car": 84.0},
        "segm": {"AP": 31.0, "AP50": 50.0, "AP-car": 40.0},
        "segm_unfused": {"AP": 30.9, "AP50": 49.0, "AP-car": 39.0},
    }
    headline, by_class = parse(format_results({"streets": tasks}))
    assert headline == [
        ["data set", "mIoU", "mIoU unfused", "mIoU any", "mIoU categories", "mask AP", "mask AP unfused", "mask AP50"],
        ["streets", "76.00", "72.90", "71.50", "88.00", "31.00", "30.90", "50.00"],
    ]
    assert by_class[1:] == [
        ["class", "IoU", "IoU unfused", "IoU any", "mask AP", "mask AP unfused"],
        ["car", "90.00", "85.00", "84.00", "40.00", "39.00"],
    ]


def test_data_set_that_was_only_exported_has_a_row_alone(tmp_path: Path):
    assert format_results({"streets_test": {}}).splitlines()[2:] == ["streets_test"]
    saved = save_results(tmp_path / "r.json", {"streets_test": {}}, eval_s=1, weights="w")
    assert saved["results"] == {"streets_test": {}}
