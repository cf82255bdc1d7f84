"""The head outside the tree trains by its project's own command; the contract battery is in tests/heads."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "projects" / "example_head"


def test_it_trains_and_is_scored(tiny_dataset, tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "toyscapes_demo").symlink_to(tiny_dataset.root)
    command = [sys.executable, PROJECT / "train_net.py", "--config-file", PROJECT / "configs" / "toyscapes_linear.yaml"]
    command += ["SOLVER.MAX_ITER", "2", "MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "out")]
    environment = {**os.environ, "DETECTRON2_DATASETS": str(tmp_path / "datasets")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    content = json.loads((tmp_path / "out" / "inference" / "results.json").read_text())
    assert list(content["results"]["unified_toyscapes_demo_val"]) == ["sem_seg"]


def test_it_is_as_short_as_promised():
    code = [line for line in (PROJECT / "head.py").read_text().splitlines() if line.strip()]
    assert len(code) <= 40
