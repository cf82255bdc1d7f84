"""The generator and its tool run without torch, Detectron2 and unified_seg."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# A None in sys.modules makes the import of that module raise ImportError.
GENERATE_WITHOUT = """
import runpy, sys
for name in ("torch", "torchvision", "detectron2", "unified_seg", "numba"):
    sys.modules[name] = None
sys.argv = ["make_toyscapes.py", "--output", sys.argv[1], "--train", "1", "--heldout", "0", "--val", "1",
            "--size", "64x128", "--workers", "1", "--stats"]
runpy.run_path("tools/make_toyscapes.py", run_name="__main__")
"""


def test_generator_runs_without_torch_detectron2_and_unified_seg(tmp_path: Path) -> None:
    command = [sys.executable, "-c", GENERATE_WITHOUT, str(tmp_path / "toyscapes")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=_environment())
    assert result.returncode == 0, result.stderr
    assert "traffic light" in result.stdout
    assert len(list((tmp_path / "toyscapes").rglob("*_leftImg8bit.png"))) == 2


def _environment() -> dict[str, str]:
    """Import the package of this checkout, also where another one is installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}
