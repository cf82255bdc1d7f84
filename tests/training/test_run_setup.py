import os
from pathlib import Path

import pytest
import torch

from unified_seg.config import CfgNode, ConfigError, get_config, replace_values
from unified_seg.training import run_setup
from unified_seg.training.lifecycle.identity import provide_run_id, read_threads
from unified_seg.training.run_setup import limit_threads, prepare_output_folder


def test_folder_is_created_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    prepare_output_folder(folder)
    (folder / "log.txt").write_text("x")
    (folder / "model_final.pth").symlink_to("/nowhere")  # never opened to be written to
    prepare_output_folder(folder)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "name", ["log.txt", "log.txt.rank1", "metrics.json", "config.yaml", "events.out.tfevents.1", "unreadable.txt"]
)
def test_link_at_a_name_that_is_opened_in_place_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigError, match=rf"OUTPUT_DIR.*{name} is a link"):
        prepare_output_folder(tmp_path)
    assert not (tmp_path / "victim").exists()


def test_fifo_and_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"OUTPUT_DIR"):
        prepare_output_folder(tmp_path / "file" / "output")
    os.mkfifo(tmp_path / "log.txt")
    with pytest.raises(ConfigError, match=r"log\.txt is no regular file"):
        prepare_output_folder(tmp_path)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """PyTorch on 8 threads, of a machine with 3 free cores; the numbers that are set."""
    found: list[int] = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(run_setup.torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(run_setup.torch, "set_num_threads", found.append)
    monkeypatch.setattr(run_setup, "count_free_cores", lambda: 3)
    return found


def on(device: str) -> CfgNode:
    return replace_values(get_config(), {"MODEL.DEVICE": device})


def test_training_on_a_cpu_uses_the_free_cores(threads: list[int]) -> None:
    limit_threads(on("cpu"))
    assert threads == [3]


def test_resumed_run_has_its_number_of_threads(threads: list[int]) -> None:
    limit_threads(on("cpu"), 2)
    limit_threads(on("cpu"), 12)  # more than this machine has
    assert threads == [2]


def test_number_of_the_user_stays(threads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    limit_threads(on("cuda"))
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    limit_threads(on("cpu"))
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(run_setup.torch, "get_num_threads", lambda: 1)
    limit_threads(on("cpu"))
    assert threads == []


def test_number_of_threads_is_kept_with_the_run(tmp_path: Path) -> None:
    assert read_threads(tmp_path) is None
    provide_run_id(tmp_path)
    assert read_threads(tmp_path) == torch.get_num_threads()
