import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from two_processes import EVALUATORS, draw

TASKS = {
    "sem_seg", "sem_seg_unfused", "bbox", "segm", "segm_unfused", "cityscapes_instances", "panoptic_seg", "recognition"
}  # fmt: skip

SCRIPT = Path(__file__).parents[1] / "helpers/two_processes.py"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote: a folder per mode."""
    folder = tmp_path_factory.mktemp("two")
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def said(folder: Path) -> list[list]:
    """What each process's evaluators said: a list per process, an entry per evaluator."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob("result_*.json"))]


def test_two_processes_say_what_one_says(two: Path, tmp_path: Path):
    main, other = said(two / "shared")
    evaluators, records, outputs = draw(tmp_path)
    evaluators.reset()
    evaluators.process(records, outputs)
    alone = evaluators.evaluate()
    merged = {task: scores for result in main for task, scores in result.items()}
    assert merged.keys() == alone.keys() == TASKS
    for task, scores in alone.items():
        assert merged[task] == pytest.approx(scores, nan_ok=True, rel=1e-12), task
    assert other == [None] * len(EVALUATORS)
    for task in ("sem_seg", "sem_seg_unfused"):
        files = [np.load(folder / "out" / f"{task}.npz") for folder in (two / "shared", tmp_path)]
        for key in ("confusion", "per_image", "image_ids", "class_names"):
            assert (files[0][key] == files[1][key]).all()
    written = []
    for out in (two / "shared" / "out", tmp_path / "out"):
        exported = (path for folder in ("panoptic", "sem_seg_cityscapes") for path in (out / folder).glob("*.png"))
        written.append({path.relative_to(out): path.read_bytes() for path in exported})
    assert len(written[0]) == 10
    assert written[0] == written[1]
    jsons = [
        json.loads((folder / "out/panoptic/predictions.json").read_text()) for folder in (two / "shared", tmp_path)
    ]
    assert jsons[0]["annotations"] == jsons[1]["annotations"]


def test_an_image_seen_by_both_processes_is_refused(two: Path):
    main, _ = said(two / "padded")
    message = "ValueError: 1 images came to two processes, such as 'alpha_000000_000000'"
    assert main == [message] * len(EVALUATORS)


def test_a_dead_process_is_an_error_and_no_hang(two: Path):
    """Item 35: the process that is left says so; `two` would not wait for it longer than 2 minutes."""
    (main,) = said(two / "dying")
    assert all(result.startswith("RuntimeError: ") for result in main)
