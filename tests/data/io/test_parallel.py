import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from unified_seg.data.io.parallel import map_in_parallel
from unified_seg.data.problems import DataError


def square(number: int) -> int:
    if number < 0:
        raise DataError(f"{number}: no such thing")
    return number**2


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_order(workers: int) -> None:
    assert map_in_parallel(square, range(20), workers, "squares") == [n**2 for n in range(20)]
    assert map_in_parallel(square, [], workers, "squares") == []


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_is_raised(workers: int) -> None:
    with pytest.raises(DataError, match="-3: no such thing"):
        map_in_parallel(square, [1, 2, -3, 4], workers, "squares")


def test_a_dead_process_is_an_error_not_a_hang() -> None:
    with pytest.raises(DataError, match="squares: a process was killed"):
        map_in_parallel(die, range(9), 2, "squares")


def report_and_wait(file: Path, number: int) -> None:
    (file.parent / f"{number}.pid").write_text(str(os.getpid()))
    time.sleep(60)


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    """Killed, it can't end them."""
    context = multiprocessing.get_context("fork")
    waits = partial(report_and_wait, tmp_path / "x")
    parent = context.Process(target=map_in_parallel, args=(waits, range(8), 2, "waiting"))
    parent.start()
    for _ in range(500):
        if len(list(tmp_path.glob("*.pid"))) == 2:
            break
        time.sleep(0.01)
    time.sleep(0.1)
    pids = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
    assert len(pids) == 2
    parent.kill()
    parent.join()
    for _ in range(500):
        if not any(is_alive(pid) for pid in pids):
            return
        time.sleep(0.01)
    pytest.fail("they go on")


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
