"""The checkpoint from which a run is resumed, whatever has happened to its folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from unified_seg.checkpoint import CheckpointError, find_newest_checkpoint, forget_last_checkpoint, write_checkpoint
from unified_seg.checkpoint.run_folder import read_last_checkpoint, write_last_checkpoint

OLD, MIDDLE, NEW, FINAL = "model_0000001.pth", "model_0000003.pth", "model_0000005.pth", "model_final.pth"
ITERATIONS = {OLD: 2, MIDDLE: 4, NEW: 6, FINAL: 6}


def write(folder: Path, name: str, **more: Any) -> Path:
    iteration = ITERATIONS[name] - 1
    content = {"model": {"weight": torch.ones(3)}, "trainer": {"iteration": iteration}, "iteration": iteration, **more}
    write_checkpoint(folder / name, content)
    return folder / name


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run of six iterations, with a checkpoint after each second, and the best one."""
    for name in ITERATIONS:
        write(tmp_path, name)
    write_checkpoint(tmp_path / "model_best.pth", {"model": {"weight": torch.ones(3)}})
    write_last_checkpoint(tmp_path, FINAL)
    return tmp_path


def find(folder: Path) -> tuple[str, int]:
    newest = find_newest_checkpoint(folder)
    assert newest is not None
    return newest.file.name, newest.iterations


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def write_page(file: Path) -> None:
    file.write_text("<!DOCTYPE html><html>moved</html>")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def spoil_weight(file: Path) -> None:
    write(file.parent, file.name, model={"weight": torch.tensor([1.0, float("nan")])})


def spoil_momentum(file: Path) -> None:
    write(file.parent, file.name, trainer={"momentum": torch.tensor([float("inf")])})


def spoil_iteration(file: Path) -> None:
    write(file.parent, file.name, iteration="5")


def spoil_state(file: Path) -> None:
    write(file.parent, file.name, trainer={"iteration": -500})


def replace_by_link(file: Path) -> None:
    file.rename(file.with_suffix(".moved"))
    file.symlink_to(file.with_suffix(".moved"))


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def test_the_last_checkpoint_is_found(run: Path) -> None:
    assert find(run) == (FINAL, 6)
    # A user goes back to an earlier state.
    write_last_checkpoint(run, MIDDLE)
    assert find(run) == (MIDDLE, 4)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        empty,
        write_page,
        flip,
        spoil_weight,
        spoil_momentum,
        spoil_iteration,
        spoil_state,
        replace_by_link,
        replace_by_folder,
        Path.unlink,
    ],
)
def test_a_bad_file_is_passed_over_with_its_reason(damage: Callable[[Path], None], run: Path) -> None:
    forget_last_checkpoint(run)
    (run / FINAL).unlink()
    damage(run / NEW)
    newest = find_newest_checkpoint(run)
    assert newest is not None and (newest.file.name, newest.iterations) == (MIDDLE, 4)
    if damage is Path.unlink:
        assert newest.refused == ()
    else:
        assert len(newest.refused) == 1 and NEW in newest.refused[0] and "\n" not in newest.refused[0]
    if damage is not replace_by_link:  # an error in last_checkpoint, to which it must not lead
        write_last_checkpoint(run, NEW)
        assert find(run) == (MIDDLE, 4)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\0" * 16, b"model_0000099.pth"])
def test_a_lost_name_loses_no_run(content: bytes | None, run: Path) -> None:
    forget_last_checkpoint(run)
    if content is not None:
        (run / "last_checkpoint").write_bytes(content)
    assert find(run) == (FINAL, 6)
    cut(run / FINAL)
    assert find(run) == (NEW, 6)
    flip(run / NEW)
    assert find(run) == (MIDDLE, 4)


def test_a_longer_training_is_newer_than_the_end_of_the_shorter(run: Path) -> None:
    forget_last_checkpoint(run)
    write_checkpoint(run / "model_0000007.pth", {"model": {"weight": torch.ones(3)}, "iteration": 7})
    assert find(run) == ("model_0000007.pth", 8)
    empty(run / "model_0000007.pth")
    assert find(run) == (FINAL, 6)


def test_all_that_was_tried_is_listed_if_none_is_good(run: Path) -> None:
    for name in ITERATIONS:
        cut(run / name)
    with pytest.raises(CheckpointError, match="--resume: no good checkpoint") as error:
        find_newest_checkpoint(run)
    assert all(name in str(error.value) for name in ITERATIONS) and "\n" not in str(error.value)
    assert "model_best" not in str(error.value)


def test_a_folder_without_a_run_has_no_checkpoint(tmp_path: Path) -> None:
    assert find_newest_checkpoint(tmp_path) is None and find_newest_checkpoint(tmp_path / "none") is None
    write_checkpoint(tmp_path / "model_best.pth", {"model": {"weight": torch.ones(3)}})
    assert find_newest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("name", ["", "model_0000001.pth"])
def test_a_run_that_has_lost_all_checkpoints_does_not_start_anew(name: str, tmp_path: Path) -> None:
    write_last_checkpoint(tmp_path, name)
    with pytest.raises(CheckpointError, match="--resume: "):
        find_newest_checkpoint(tmp_path)


def test_checkpoints_of_other_runs_are_passed_over(run: Path) -> None:
    write(run, OLD, run="mine")
    newest = find_newest_checkpoint(run, lambda state: state.get("run") == "mine")
    assert newest is not None and newest.file.name == OLD and newest.refused == ()
    assert find_newest_checkpoint(run, lambda state: False) is None


def test_a_name_outside_of_the_folder_is_an_error(run: Path) -> None:
    write_last_checkpoint(run, "../m.pth")
    with pytest.raises(CheckpointError, match="last_checkpoint: "):
        find_newest_checkpoint(run)


def test_files_of_earlier_versions_are_good(run: Path) -> None:
    torch.save({"model": {"weight": torch.ones(3)}, "iteration": 5}, run / FINAL)
    assert find(run) == (FINAL, 6)
    (run / OLD).write_bytes((run / FINAL).read_bytes()[:-1])
    write_last_checkpoint(run, OLD)
    assert find(run) == (FINAL, 6)


def test_last_checkpoint_is_read_and_forgotten(tmp_path: Path) -> None:
    assert read_last_checkpoint(tmp_path) == ""
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    assert read_last_checkpoint(tmp_path) == "model_0000001.pth"
    for _ in range(2):
        forget_last_checkpoint(tmp_path)
        assert read_last_checkpoint(tmp_path) == ""


@pytest.mark.parametrize(
    "name",
    [
        "../m.pth",
        "/etc/m.pth",
        "a/m.pth",
        "..",
        "m.pkl",
        "m\0.pth",
        "link.pth",
        ".hidden.pth",
        "x" * 5000,
        "\x1b[31m.pth",
    ],
)
def test_last_checkpoint_names_only_a_file_of_its_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "link.pth").symlink_to("/etc/passwd")
    (tmp_path / "last_checkpoint").write_text(name)
    with pytest.raises(CheckpointError, match=r"last_checkpoint: ") as error:
        read_last_checkpoint(tmp_path)
    assert "\x1b" not in str(error.value)
