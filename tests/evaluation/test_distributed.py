import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from two_processes import draw

SCRIPT = Path(__file__).with_name("two_processes.py")


def in_two_processes(folder: Path, mode: str) -> list[list]:
    """What each process's evaluators said: a list per process, an entry per evaluator."""
    folder.mkdir()
    done = subprocess.run([sys.executable, SCRIPT, folder, mode], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"result_{rank}.json").read_text()) for rank in range(2)]


def test_two_processes_say_what_one_says(tmp_path: Path):
    main, other = in_two_processes(tmp_path / "two", "shared")
    evaluators, records, outputs = draw(tmp_path / "one")
    evaluators.reset()
    evaluators.process(records, outputs)
    alone = evaluators.evaluate()
    merged = {task: scores for result in main for task, scores in result.items()}
    assert merged.keys() == alone.keys() == {"sem_seg", "bbox", "segm", "cityscapes_instances", "panoptic_seg"}
    for task, scores in alone.items():
        assert merged[task] == pytest.approx(scores, nan_ok=True, rel=1e-12), task
    assert other == [None] * 4
    files = [np.load(tmp_path / name / "out" / "sem_seg.npz") for name in ("two", "one")]
    for key in ("confusion", "per_image", "image_ids", "class_names"):
        assert (files[0][key] == files[1][key]).all()
    names = [sorted(p.name for p in (tmp_path / name / "out" / "panoptic").iterdir()) for name in ("two", "one")]
    assert names[0] == names[1]
    assert len(names[0]) == 6  # 5 PNGs and predictions.json


def test_an_image_seen_by_both_processes_is_refused(tmp_path: Path):
    main, _ = in_two_processes(tmp_path / "two", "padded")
    assert main == ["1 images came to two processes, such as 'alpha_000000_000000'"] * 4
