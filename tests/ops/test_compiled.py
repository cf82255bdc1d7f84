"""The cache of compiled functions: a folder of the user's own, and no failure if it is damaged."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import doubled
print(doubled.double(21))
"""
MODULE = """
import importlib.util
import sys
import types
# Without the rest of the library, whose import takes seconds.
package = types.ModuleType("unified_seg")
package.__path__ = [sys.argv[2] + "/unified_seg"]
sys.modules["unified_seg"] = package
from unified_seg.ops.compiled import compiled

@compiled
def double(number):
    return 2 * number
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "doubled.py").write_text(MODULE)
    monkeypatch.setenv("UNIFIED_SEG_COMPILED", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run_program() -> str:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(ROOT)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run_program


def test_damaged_cache_is_rebuilt_in_a_folder_of_the_user(run, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert run() == "42" and cache.stat().st_mode & 0o777 == 0o700
    files = [file for file in cache.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".nbi", ".nbc"}
    for file in files:
        file.write_bytes(file.read_bytes()[:30])
    assert run() == "42"
    assert all(file.stat().st_size > 30 for file in cache.rglob("*.nbc"))


def test_folder_that_others_can_replace_is_not_used(run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    assert run() == "42" and not list((tmp_path / "elsewhere").iterdir())
