"""Peak memory of one call above the memory in use before it."""

import ctypes
import gc
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Call = Callable[[], Any]

CPU_PEAK = "peak resident memory of a later call, less the resident memory before it, in a separate process"
CUDA_PEAK = "torch.cuda.max_memory_allocated during a call, less the memory allocated before it"
# The first calls also load code and fill caches, which is not working memory.
WARM_UP_CALLS = 2
# With these settings glibc returns each larger block to the system at once, so that resident memory is memory in use.
MALLOC_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
# The calling process has already printed the same warnings.
QUIET = {"PYTHONWARNINGS": "ignore"}


def peak_on_cuda(call: Call, device: str) -> float:
    """Measure a call; return its peak in 10^6 bytes."""
    import torch  # the processes that measure on the CPU may do without it

    gc.collect()
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 1e6


def peak_on_cpu(prepare: Callable[[], Call], threads: int) -> float | None:
    """Measure the call that `prepare` returns in a new process; return its peak in 10^6 bytes.

    Resident memory includes the memory of NumPy, OpenCV, Numba and pycocotools. If the call leaves processes at work,
    such as those of a loader, it is the memory of one of them that it shares with no other process.

    Returns:
        The peak; None if the system does not report it.

    Raises:
        RuntimeError: the process ended without a result.
    """
    if not can_reset_peak():
        return None
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    # PyTorch and MKL read the number of threads when they are imported.
    with _environment(MALLOC_SETTINGS | QUIET | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}):
        process = context.Process(target=_measure, args=(prepare, sender))
        process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"the process that measures memory ended with {process.exitcode}, see above") from None
    finally:
        process.join()


def _measure(prepare: Callable[[], Call], sender: Connection) -> None:
    call = prepare()
    for _ in range(WARM_UP_CALLS):
        call()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    call()
    workers = [_private_memory(child.pid) for child in multiprocessing.active_children()]
    sender.send((max(workers) if workers else _status("VmHWM") - before) / 1e6)


def _private_memory(pid: int | None) -> int:
    """Return the memory of a process that it shares with no other, in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))


def _status(field: str) -> int:
    """Return a field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}")


def can_reset_peak() -> bool:
    """Return whether the system is Linux with glibc and its kernel can reset the peak of a process."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return hasattr(ctypes.CDLL(None), "malloc_trim")
    except OSError:
        return False


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started inside."""
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
