"""The script that draws a score over the iterations of trainings."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import pytest

from unified_seg.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(ROOT / "projects/validation_curve.py")


def write_metrics(folder: Path, scores: dict[int, float]) -> Path:
    """Write a metrics.json with the loss of three iterations, and scores by the number of iterations."""
    folder.mkdir()
    lines = [{"iteration": iteration - 1, "total_loss": 1.0} for iteration in (20, 40, 60)]
    for line in lines:
        if (score := scores.get(line["iteration"] + 1)) is not None:
            line |= {"sem_seg/mIoU": score, "eval_s": 1.0}
    (folder / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_scores_stand_by_the_iterations_that_were_done(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = write_metrics(tmp_path / "a=short", {20: 50.0, 40: 60.25})
    long = write_metrics(tmp_path / "long", {40: 55.0, 60: 65.0})
    picture = tmp_path / "new" / "curve.png"
    script.main(["--runs", f"short={short}", f"long={long}", "--output", str(picture)])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["iterations", "short", "long"]
    assert rows[2:5] == [["20", "50.00", "–"], ["40", "60.25", "55.00"], ["60", "–", "65.00"]]
    assert cv2.imread(str(picture)) is not None


def test_the_evaluation_after_the_last_step_does_not_count_one_more(script: ModuleType, tmp_path: Path) -> None:
    folder = write_metrics(tmp_path / "run", {20: 50.0})
    with (folder / "metrics.json").open("a") as file:
        file.write(json.dumps({"iteration": 60, "sem_seg/mIoU": 70.0, "eval_s": 1.0}) + "\n")
    assert script.read_curve(folder, "sem_seg/mIoU") == {20: 50.0, 60: 70.0}


@pytest.mark.parametrize(
    ("runs", "output", "message"),
    [(["a=x", "a=y"], "c.png", "'a' is the name of two runs"), (["a=x"], "c.xyz", r"--output: expected a \.png")],
)
def test_wrong_arguments_are_refused(
    script: ModuleType, runs: list[str], output: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        script.main(["--runs", *runs, "--output", output])
    assert re.search(message, capsys.readouterr().err)


def test_unknown_metrics_list_the_known_ones(script: ModuleType, tmp_path: Path) -> None:
    folder = write_metrics(tmp_path / "run", {40: 60.0})
    with pytest.raises(UserError, match="no sem_seg/PQ; there is sem_seg/mIoU"):
        script.read_curve(folder, "sem_seg/PQ")
    with pytest.raises(UserError, match=r"TEST\.EVAL_PERIOD"):
        script.read_curve(write_metrics(tmp_path / "blind", {}), "sem_seg/mIoU")


def test_folders_without_metrics_are_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="is this the folder of a training"):
        script.read_curve(tmp_path, "sem_seg/mIoU")
    with pytest.raises(SystemExit):
        script.main(["--runs", "only_a_name", "--output", "curve.png"])
    assert "'only_a_name' is not NAME=FOLDER" in capsys.readouterr().err
