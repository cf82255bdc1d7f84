import os
import re
import signal
import time
from pathlib import Path

import pytest
from detectron2.config import CfgNode
from held_lock import end_process, hold_lock

from unified_seg.config import ConfigError, dump_config
from unified_seg.training.lifecycle.lock import lock_folder
from unified_seg.training.run import run


def test_a_second_process_is_refused_and_the_first_one_named(tmp_path: Path) -> None:
    process = hold_lock(tmp_path)
    try:
        with pytest.raises(ConfigError, match=rf"OUTPUT_DIR.*process {process} ") as error, lock_folder(tmp_path):
            pass
        (hint,) = re.findall("`OUTPUT_DIR ([^`]+)`", str(error.value))
        Path(hint).mkdir()
        with lock_folder(hint):
            pass
    finally:
        end_process(process)
    # The lock of a killed process is gone.
    with lock_folder(tmp_path):
        assert str(os.getpid()) in (tmp_path / "run.lock").read_text()
    with lock_folder(tmp_path):
        pass
    assert (tmp_path / "run.lock").read_text() == ""


def test_children_of_a_killed_process_do_not_hold_its_lock(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with lock_folder(tmp_path):
            worker = os.fork()
            if worker == 0:
                time.sleep(60)
                os._exit(0)
            os.write(writer, str(worker).encode())
            time.sleep(60)
    worker = int(os.read(reader, 20))
    end_process(child)
    try:
        with lock_folder(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("flags", [[], ["--resume"], ["--set-aside"], ["--eval-only"]])
def test_nothing_runs_beside_a_training_in_its_folder(tmp_path: Path, tiny_config: CfgNode, flags: list[str]) -> None:
    (tmp_path / "run.yaml").write_text(dump_config(tiny_config))
    Path(tiny_config.OUTPUT_DIR).mkdir()
    process = hold_lock(Path(tiny_config.OUTPUT_DIR))
    try:
        with pytest.raises(SystemExit, match=rf"ConfigError: OUTPUT_DIR.*process {process} "):
            run(["--config-file", str(tmp_path / "run.yaml"), *flags])
    finally:
        end_process(process)
    assert [file.name for file in Path(tiny_config.OUTPUT_DIR).iterdir()] == ["run.lock"]


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "run.lock"
    if kind == "link":
        file.symlink_to(tmp_path / "victim")
    elif kind == "fifo":
        os.mkfifo(file)
    else:
        file.mkdir()
    with pytest.raises(ConfigError, match=r"run\.lock"), lock_folder(tmp_path):
        pass
    assert not (tmp_path / "victim").exists()
