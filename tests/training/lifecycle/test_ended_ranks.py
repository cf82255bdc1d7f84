"""Two processes over gloo: a signal stops both, a process that dies ends the other, torchrun's restart resumes."""

import signal
from pathlib import Path
from subprocess import CompletedProcess

import end_ranks
import pytest
import torch
from chain_model import chain_config
from detectron2.config import CfgNode
from example_heads import remove_outside_keys
from processes import run_ranks

from unified_seg.config import dump_config

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def config(tiny_config: CfgNode, tiny_dataset, tmp_path: Path) -> CfgNode:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "toyscapes").symlink_to(tiny_dataset.root)
    cfg = chain_config(tiny_config)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST, cfg.DATASETS.CHECK_LABELS = ("unified_toyscapes_train",), (), False
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD = 6, 2
    return cfg


def train(cfg: CfgNode, folder: Path, how: str, restarts: int = 0) -> list[CompletedProcess[str]]:
    path = folder.with_suffix(".yaml")
    path.write_text(dump_config(remove_outside_keys(cfg.clone())))
    environment = {
        "DETECTRON2_DATASETS": str(folder.parent / "datasets"),
        "TORCHELASTIC_RESTART_COUNT": str(restarts),
    }
    arguments = (how, "--config-file", path, "OUTPUT_DIR", folder)
    return run_ranks(2, end_ranks.__file__, *arguments, env=environment)


def test_all_processes_end_and_a_restart_goes_on(config: CfgNode, tmp_path: Path) -> None:
    folder = tmp_path / "ended"
    first = train(config, folder, "signal:3")
    assert [rank.returncode for rank in first] == [128 + signal.SIGTERM] * 2, first
    # Both have done the same steps.
    assert torch.load(folder / "model_0000002.pth", weights_only=True)["iteration"] == 2
    second = train(config, folder, "kill:5", restarts=1)
    assert [rank.returncode for rank in second] == [1, -signal.SIGKILL], second
    lines = [line for line in second[0].stderr.splitlines() if line.strip()]
    assert any(line.startswith("ProcessLost: iteration ") and "--resume" in line for line in lines), lines
    assert not any("Traceback" in line for line in lines)
    third = train(config, folder, "nothing:0", restarts=2)
    assert [rank.returncode for rank in third] == [0, 0], third
    assert "Starting training from iteration 4" in (folder / "log.txt").read_text()
    whole = train(config, tmp_path / "whole", "nothing:0")
    assert [rank.returncode for rank in whole] == [0, 0], whole
    one, other = (torch.load(each / "model_final.pth", weights_only=True) for each in (folder, tmp_path / "whole"))
    assert all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())
    assert [each["stream"] for each in one["processes"]] == [each["stream"] for each in other["processes"]]
    assert one["processes"][0]["stream"] is not None and len(one["processes"]) == 2


def test_a_restart_does_not_resume_the_run_of_another_job(config: CfgNode, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "model_final.pth").write_text("x")
    ranks = train(config, tmp_path / "old", "nothing:0", restarts=1)
    assert [rank.returncode for rank in ranks] == [1, 1]
    assert "--set-aside" in ranks[0].stderr and "ProcessLost" in ranks[1].stderr
