"""The cache of compiled functions: a folder of the user's own, and no failure if it is damaged."""

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from unified_seg.ops.compiled import compiled

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


@pytest.mark.end_to_end
def test_damaged_cache_is_rebuilt_in_a_folder_of_the_user(run, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert run() == "42" and cache.stat().st_mode & 0o777 == 0o700
    files = [file for file in cache.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".nbi", ".nbc"}
    for file in files:
        file.write_bytes(file.read_bytes()[:30])
    assert run() == "42"
    assert all(file.stat().st_size > 30 for file in cache.rglob("*.nbc"))


@pytest.mark.end_to_end
def test_folder_that_others_can_replace_is_not_used(run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    assert run() == "42" and not list((tmp_path / "elsewhere").iterdir())


def test_threads_that_compile_at_once_use_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is a setting of the process: a thread may not reset it while another one reads it."""
    monkeypatch.setenv("UNIFIED_SEG_COMPILED", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    functions = []
    for number in range(40):
        (tmp_path / f"module_{number}.py").write_text("def same(number):\n    return number\n")
        spec = importlib.util.spec_from_file_location(f"module_{number}", tmp_path / f"module_{number}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        functions.append(compiled(module.same))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda function: function.compile(), functions))
    folders = {function.compile()._cache._impl.locator.get_cache_path() for function in functions}
    assert all(Path(folder).is_relative_to(tmp_path / "cache") for folder in folders)
    assert not list((tmp_path / "here").iterdir())
