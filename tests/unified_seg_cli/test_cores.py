from pathlib import Path

import pytest

from unified_seg_cli import cores


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 8 cores, of which this process may use the first 4; without control groups."""
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "STATISTICS", tmp_path / "stat")
    monkeypatch.setattr(cores, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(cores, "_find_allowed", lambda: {0, 1, 2, 3})
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_affinity_is_the_limit_without_control_groups(machine: Path) -> None:
    assert cores.count_allowed_cores() == 4


@pytest.mark.parametrize(("limit", "expected"), [("250000 100000", 2), ("50000 100000", 1), ("max 100000", 4), ("", 4)])
def test_limit_of_a_control_group_counts(machine: Path, limit: str, expected: int) -> None:
    write(machine / "own", "0::/a/b\n")
    write(machine / "cgroup/a/b/cpu.max", "max 100000")
    write(machine / "cgroup/a/cpu.max", limit)  # of the group above
    assert cores.count_allowed_cores() == expected


def test_limit_of_a_container_is_at_the_root(machine: Path) -> None:
    write(machine / "own", "0::/../elsewhere\n")
    write(machine / "cgroup/cpu.max", "300000 100000")
    assert cores.count_allowed_cores() == 3


def test_limit_of_version_1_counts(machine: Path) -> None:
    write(machine / "own", "4:memory:/a\n3:cpu,cpuacct:/a\n")
    write(machine / "cgroup/cpu/a/cpu.cfs_quota_us", "100000\n")
    write(machine / "cgroup/cpu/a/cpu.cfs_period_us", "50000\n")
    assert cores.count_allowed_cores() == 2


def statistics(busy: list[int], passed: int = 100) -> str:
    lines = [f"cpu{core} {ticks} 0 0 {passed - ticks} 0 0 0 0 0 0" for core, ticks in enumerate(busy)]
    return "\n".join([f"cpu {sum(busy)} 0 0 0 0 0 0 0 0 0", *lines, "intr 5 6", "ctxt 7"])


@pytest.mark.parametrize(
    ("busy", "expected"),
    [
        ([0, 0, 0, 0, 100, 100, 100, 100], 4),  # the busy cores are not among the allowed ones
        ([100, 60, 0, 0, 0, 0, 0, 0], 2),
        ([100, 100, 100, 100, 0, 0, 0, 0], 1),  # at least one
        ([10, 10, 10, 10, 0, 0, 0, 0], 4),
    ],
)
def test_busy_cores_are_not_free(
    machine: Path, monkeypatch: pytest.MonkeyPatch, busy: list[int], expected: int
) -> None:
    write(machine / "stat", statistics([0] * 8))
    monkeypatch.setattr(cores.time, "sleep", lambda _: write(machine / "stat", statistics(busy, passed=200)))
    assert cores.count_free_cores() == expected


def test_all_cores_are_free_on_a_system_that_does_not_tell(machine: Path) -> None:
    assert cores.count_free_cores() == 4


def test_this_machine_has_cores() -> None:
    assert 1 <= cores.count_free_cores(0.05) <= cores.count_allowed_cores()
