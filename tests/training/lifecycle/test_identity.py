import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from unified_seg.checkpoint import write_checkpoint
from unified_seg.config import ConfigError, load_config
from unified_seg.training.lifecycle.identity import (
    check_unused,
    find_checkpoint,
    is_restarted,
    provide_run_id,
    read_run_id,
    set_run_aside,
)
from unified_seg_cli.train_net import parse_args


def write_run(folder: Path, run_id: str | None, name: str = "model_0000004.pth") -> None:
    state = {"model": {"weight": torch.ones(2)}, "iteration": 4}
    write_checkpoint(folder / name, state if run_id is None else {**state, "run": run_id})


def test_a_folder_keeps_its_id(tmp_path: Path) -> None:
    first = provide_run_id(tmp_path)
    assert first == provide_run_id(tmp_path) == read_run_id(tmp_path) != ""
    assert provide_run_id(tmp_path / "stage", first) == first


@pytest.mark.parametrize("content", ["", "[]", "{", '{"id": 3}', '{"id": "../x"}'])
def test_a_damaged_id_is_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    assert read_run_id(tmp_path) == ""
    assert provide_run_id(tmp_path) == read_run_id(tmp_path) != ""


def test_checkpoints_of_other_runs_are_passed_over(tmp_path: Path) -> None:
    own = provide_run_id(tmp_path)
    write_run(tmp_path, "0" * 16, "model_final.pth")
    assert find_checkpoint(tmp_path) is None
    write_run(tmp_path, own)
    found = find_checkpoint(tmp_path)
    assert found is not None and found.file.name == "model_0000004.pth"


def test_checkpoints_of_earlier_versions_are_resumed(tmp_path: Path) -> None:
    provide_run_id(tmp_path)
    write_run(tmp_path, None)
    assert find_checkpoint(tmp_path) is not None


@pytest.mark.parametrize("name", ["model_final.pth", "metrics.json", "base/model_0000001.pth", "base/metrics.json"])
def test_a_used_folder_is_refused_until_its_run_is_set_aside(tmp_path: Path, name: str) -> None:
    check_unused(tmp_path, ["base"])
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("{}")
    for other in ("config.yaml", "log.txt", "run.json", "mine.txt", "start.pth"):
        (tmp_path / other).write_text("x")
    with pytest.raises(ConfigError, match=rf"OUTPUT_DIR.*{name}") as error:
        check_unused(tmp_path, ["base"])
    hints = [parse_args(shlex.split(hint)) for hint in re.findall("`([^`]+)`", str(error.value))]
    assert hints[0].resume and hints[2].set_aside
    check_unused(load_config("", hints[1].opts).OUTPUT_DIR)
    folder = set_run_aside(tmp_path, ["base"])
    assert folder == tmp_path / "earlier_run_1" and (folder / name).read_text() == "{}"
    assert (folder / "config.yaml").exists() and (folder / "run.json").exists()
    # What is not of a run stays.
    assert {path.name for path in tmp_path.iterdir()} == {"mine.txt", "start.pth", "earlier_run_1"}
    check_unused(tmp_path, ["base"])
    (tmp_path / "metrics.json").write_text("{}")
    assert set_run_aside(tmp_path) == tmp_path / "earlier_run_2"


def test_an_empty_metrics_file_and_other_folders_are_no_run(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model_final.pth").write_text("x")
    check_unused(tmp_path, ["base"])
    assert set_run_aside(tmp_path / "nowhere") is None


def test_torchrun_resumes_only_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert not is_restarted(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    provide_run_id(tmp_path)
    assert is_restarted(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert not is_restarted(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    content = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**content, "job": "b/1"}))
    assert not is_restarted(tmp_path)
