"""What `make demo` runs, with a few images and steps."""

import json
import sys
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import TextIO

import cv2
import pytest
from processes import run_script
from tiny_model import TINY, to_overrides

from unified_seg.commands import run_demo
from unified_seg_cli.commands.run_demo import main

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).parents[2]


def run_without_imports(command: list[str], stdout: TextIO) -> CompletedProcess[str]:
    """Run a script as `subprocess.run` does, in a process that has imported PyTorch already."""
    assert command[:3] == [sys.executable, "-m", "unified_seg_cli"] and command[3] in ("train", "eval")
    done = run_script(ROOT / "tools/train_net.py", *(["--eval-only"] if command[3] == "eval" else []), *command[4:])
    stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_demo, "subprocess", SimpleNamespace(run=run_without_imports))
    return lambda *arguments: main(["--output", str(tmp_path / "out"), *arguments])


def test_it_makes_data_trains_scores_and_draws(run, tmp_path, capsys):
    run("--train", "4", "--val", "3", "SOLVER.MAX_ITER", "2", *to_overrides(TINY))
    scores = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {"mIoU", "AP", "PQ", "train_s", "eval_s", "versions"} <= set(scores)
    assert all(0 <= scores[name] <= 100 for name in ("mIoU", "AP", "PQ"))
    pictures = sorted((tmp_path / "out" / "pictures").glob("*.png"))
    assert len(pictures) == 3
    printed = capsys.readouterr().out
    assert all(str(picture) in printed for picture in pictures)
    assert min(cv2.imread(str(pictures[0])).shape[:2]) > 200


def test_scores_of_several_test_sets_are_those_of_the_first(tmp_path):
    (tmp_path / "inference").mkdir()
    results = {name: {"sem_seg": {"mIoU": score}} for name, score in (("one", 1.0), ("two", 2.0))}
    content = {"results": results, "train_s": 1.0, "eval_s": 1.0, "versions": {}}
    (tmp_path / "inference/results.json").write_text(json.dumps(content))
    assert run_demo.summarize(tmp_path)["mIoU"] == 1.0


def test_several_scales_are_evaluated_after_the_training(run, tmp_path):
    scales = ["TEST.AUG.ENABLED", "True", "TEST.AUG.SCALES", "[1.0, 1.5]"]
    run("--train", "4", "--val", "2", "SOLVER.MAX_ITER", "2", *to_overrides(TINY), *scales)
    scores = json.loads((tmp_path / "out/results.json").read_text())
    assert scores["train_s"] > 0
    evaluated = json.loads((tmp_path / "out/inference/results.json").read_text())
    (tasks,) = evaluated["results"].values()
    assert scores["mIoU"] == tasks["sem_seg"]["mIoU"]
    assert (tmp_path / "out/eval.txt").exists()


def test_missing_photographs_are_named_before_the_training(run, tmp_path, forget_datasets):
    (tmp_path / "classes.yaml").write_text("- sky\n- road\n")
    folders = {"IMAGES": str(tmp_path / "camvid"), "SEMANTIC": str(tmp_path / "camvidannot")}
    custom = [{"NAME": "unified_test_photographs", "CLASSES": str(tmp_path / "classes.yaml"), **folders}]
    names = ["DATASETS.TRAIN", "['unified_test_photographs']", "DATASETS.TEST", "[]", "DATASETS.CUSTOM", repr(custom)]
    with pytest.raises(SystemExit, match=r"camvid: there is no such folder"):
        run("--config-file", str(ROOT / "configs/camvid/demo.yaml"), *names)
    assert not (tmp_path / "out").exists()


def test_a_wrong_key_is_named_before_anything_is_made(run, tmp_path):
    with pytest.raises(SystemExit, match=r"did you mean `SOLVER\.MAX_ITER`"):
        run("SOLVER.MAX_ITERS", "2")
    assert not (tmp_path / "datasets").exists()


def test_a_training_that_fails_shows_why(run, capfd):
    with pytest.raises(SystemExit, match=r"unified-seg train failed, see .*train_net\.txt"):
        run("--train", "4", "--val", "2", "MODEL.SEM_SEG_HEAD.NAME", "NoHead")
    assert "MODEL.SEM_SEG_HEAD.NAME: unknown semantic head 'NoHead'" in capfd.readouterr().err
