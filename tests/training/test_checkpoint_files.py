"""Damaged, spoiled and safetensors files of a training, through the entry point of `tools/train_net.py`."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from example_heads import remove_outside_keys
from model_parts import without_detector
from safetensors.torch import load_file

from unified_seg.checkpoint import files, read_checkpoint, write_checkpoint
from unified_seg.checkpoint.integrity import check_archive
from unified_seg.config import dump_config
from unified_seg.training.lifecycle.best_score import BestCheckpoint
from unified_seg.training.run import run

pytestmark = pytest.mark.end_to_end

FINAL = "model_final.pth"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the run of `config` is made once."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def config(tiny_config: CfgNode, shared: Path, tmp_path: Path) -> CfgNode:
    """The config of a run of four iterations, in a copy of its folder."""
    cfg = tiny_config
    without_detector(cfg)
    cfg.DATASETS.CHECK_LABELS, cfg.SEED = False, 3
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD, cfg.SOLVER.SAFETENSORS = 4, 2, True
    cfg.TEST.EVAL_PERIOD, cfg.TEST.BEST_CHECKPOINT_METRIC = 4, "sem_seg/mIoU"
    output = cfg.OUTPUT_DIR
    if not (shared / "output").exists():
        cfg.OUTPUT_DIR = str(shared / "output")
        run(arguments(cfg, tmp_path))
    cfg.OUTPUT_DIR = output
    Path(output).mkdir()
    for file in (shared / "output").iterdir():
        if file.is_file():
            (Path(output) / file.name).write_bytes(file.read_bytes())
    return cfg


def arguments(cfg: CfgNode, folder: Path, *overrides: str) -> list[str]:
    path = folder / "run.yaml"
    path.write_text(dump_config(remove_outside_keys(cfg.clone())))
    return ["--config-file", str(path), *overrides]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lose_all_but_one(file: Path) -> None:
    cut(file)
    (file.parent / "last_checkpoint").write_text("")
    (file.parent / "model_0000003.pth").unlink()


@pytest.mark.parametrize(("damage", "iterations"), [(cut, 4), (Path.unlink, 4), (lose_all_but_one, 2)])
def test_a_damaged_end_is_written_again(
    config: CfgNode, damage: Callable[[Path], None], iterations: int, tmp_path: Path
) -> None:
    final = Path(config.OUTPUT_DIR) / FINAL
    before = read_checkpoint(final)["model"]
    damage(final)
    run(arguments(config, tmp_path, "--resume"))
    log = (final.parent / "log.txt").read_text()
    assert f"Starting training from iteration {iterations}" in log and f"{FINAL}: " in log
    after = read_checkpoint(final)
    assert after["iteration"] == 3 and after["model"].keys() == before.keys()
    if iterations == 4:
        assert all(torch.equal(value, before[name]) for name, value in after["model"].items())


def test_a_resumed_run_reads_its_checkpoint_as_a_whole_once(
    config: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    def check(file: str) -> None:
        checked.append(Path(file).name)
        check_archive(file)

    monkeypatch.setattr(files, "check_archive", check)
    run(arguments(config, tmp_path, "--resume"))
    assert checked.count(FINAL) == 1


def test_a_run_without_a_good_file_does_not_start_anew(config: CfgNode, tmp_path: Path) -> None:
    for file in Path(config.OUTPUT_DIR).glob("model_*.pth"):
        cut(file)
    with pytest.raises(SystemExit, match=r"^CheckpointError: --resume: no good checkpoint") as error:
        run(arguments(config, tmp_path, "--resume"))
    assert all(name in str(error.value) for name in (FINAL, "model_0000001.pth", "model_0000003.pth"))


def test_a_damaged_best_file_does_not_end_a_resumed_run(tmp_path: Path) -> None:
    (tmp_path / "model_best.pth").write_bytes(b"PK\x03\x04")
    hook = BestCheckpoint("sem_seg/mIoU", str(tmp_path))
    hook.trainer = type("T", (), {"start_iter": 5})()
    hook.before_train()
    assert hook.best == float("-inf")


def test_weights_that_are_not_finite_are_not_evaluated(config: CfgNode, tmp_path: Path) -> None:
    content = read_checkpoint(Path(config.OUTPUT_DIR) / FINAL)
    name = next(name for name in content["model"] if name.startswith("sem_seg_head.") and name.endswith("weight"))
    content["model"][name].view(-1)[0] = float("nan")
    write_checkpoint(tmp_path / "bad.pth", content)
    with pytest.raises(SystemExit, match=rf"CheckpointError: weights .*bad\.pth: {re.escape(name)} .*NaN"):
        run(arguments(config, tmp_path, "--eval-only", "MODEL.WEIGHTS", str(tmp_path / "bad.pth")))


def test_safetensors_are_written_and_evaluated(config: CfgNode, tmp_path: Path) -> None:
    final, best = (Path(config.OUTPUT_DIR) / f"model_{name}.safetensors" for name in ("final", "best"))
    expected = read_checkpoint(Path(config.OUTPUT_DIR) / FINAL)["model"]
    for file in (final, best):  # the only evaluation is that of the last iteration
        assert all(torch.equal(value, expected[name]) for name, value in load_file(file).items())
    results = [
        run(arguments(config, tmp_path, "--eval-only", "MODEL.WEIGHTS", str(file)))
        for file in (final, final.with_suffix(".pth"))
    ]
    assert results[0]["sem_seg"]["mIoU"] == results[1]["sem_seg"]["mIoU"]
    assert read_checkpoint(final)["class_names"] and "sem_seg/mIoU" in read_checkpoint(best)
