"""The CPU cores that this process may use, and how many of them others leave free."""

import math
import os
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
STATISTICS = Path("/proc/stat")
OWN_CGROUP = Path("/proc/self/cgroup")
# For how long `count_free_cores` watches the machine: long enough for the clock ticks of 10 ms in /proc/stat.
SECONDS_TO_WATCH = 0.5


def count_allowed_cores() -> int:
    """Return the number of cores by the affinity of this process and the limits of its control groups, at least 1."""
    return max(1, int(min(len(_find_allowed()), _read_limit())))


def count_free_cores(seconds: float = SECONDS_TO_WATCH) -> int:
    """Return how many of the allowed cores are idle, at least 1; it watches for some time.

    On systems without /proc/stat all allowed cores count as free.
    """
    allowed = _find_allowed()
    before = _read_busy_and_total(allowed)
    time.sleep(seconds if before is not None else 0.0)
    after = _read_busy_and_total(allowed)
    if before is None or after is None or after[1] <= before[1]:
        return count_allowed_cores()
    busy = len(allowed) * (after[0] - before[0]) / (after[1] - before[1])
    return max(1, min(count_allowed_cores(), round(len(allowed) - busy)))


def _find_allowed() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _read_busy_and_total(cores: set[int]) -> tuple[int, int] | None:
    """Return the clock ticks that these cores were busy, and all that passed on them; None if nobody counts them."""
    names = {f"cpu{core}" for core in cores}
    busy = total = 0
    for line in _read(STATISTICS).splitlines():
        name, *fields = line.split()
        if name in names:
            ticks = [int(field) for field in fields[:8]]  # user, nice, system, idle, iowait, irq, softirq, steal
            total += sum(ticks)
            busy += sum(ticks) - ticks[3] - ticks[4]
    return (busy, total) if total else None


def _read_limit() -> float:
    """Return the number of cores that the control groups of this process allow, infinity if they set no limit."""
    limits = [math.inf]
    for line in _read(OWN_CGROUP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container the own group may be the root of what is mounted.
        top = CGROUPS / "cpu" if controllers else CGROUPS
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                limits.append(_read_quota(folder))
    return min(limits)


def _read_quota(folder: Path) -> float:
    """Return the cores of one control group: cpu.max of version 2, or two files of version 1."""
    words = _read(folder / "cpu.max").split() or [
        _read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
    ]
    try:
        quota, period = map(int, words)
    except ValueError:  # "max", or no such files
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
