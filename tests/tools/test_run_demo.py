"""What `make demo` runs, with a few images and steps."""

import json
from pathlib import Path

import cv2
from processes import run_script

TOOL = Path(__file__).parents[2] / "tools" / "run_demo.py"


def run(tmp_path, *arguments):
    environment = {"DETECTRON2_DATASETS": str(tmp_path / "datasets")}
    return run_script(TOOL, "--output", tmp_path / "out", *arguments, env=environment, cwd=tmp_path)


def test_it_makes_data_trains_scores_and_draws(tmp_path):
    result = run(tmp_path, "--train", "8", "--val", "3", "SOLVER.MAX_ITER", "2", "MODEL.DEVICE", "cpu")
    assert result.returncode == 0, result.stdout + result.stderr
    scores = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {"mIoU", "AP", "PQ", "train_s", "eval_s", "versions"} <= set(scores)
    assert all(0 <= scores[name] <= 100 for name in ("mIoU", "AP", "PQ"))
    pictures = sorted((tmp_path / "out" / "pictures").glob("*.png"))
    assert len(pictures) == 3
    assert all(str(picture) in result.stdout for picture in pictures)
    assert min(cv2.imread(str(pictures[0])).shape[:2]) > 200


def test_a_wrong_key_is_named_before_anything_is_made(tmp_path):
    result = run(tmp_path, "SOLVER.MAX_ITERS", "2")
    assert result.returncode != 0
    assert "did you mean `SOLVER.MAX_ITER`" in result.stderr
    assert not (tmp_path / "datasets").exists()


def test_a_training_that_fails_shows_why(tmp_path):
    result = run(tmp_path, "--train", "4", "--val", "2", "MODEL.SEM_SEG_HEAD.NAME", "NoHead")
    assert result.returncode != 0
    assert "MODEL.SEM_SEG_HEAD.NAME" in result.stderr and "'NoHead'" in result.stderr
