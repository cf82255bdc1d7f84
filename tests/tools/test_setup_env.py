"""Which environment the set-up chooses; that it can make one is what CI's clean checkout shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "tools" / "setup_env.py"


def which(**environment):
    clean = {k: v for k, v in os.environ.items() if k not in ("VENV", "VIRTUAL_ENV", "CONDA_PREFIX")}
    result = subprocess.run(
        [sys.executable, SCRIPT, "--which"], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return Path(result.stdout.strip())


def test_the_default_environment_is_in_the_project():
    assert which() == ROOT / ".venv" / "bin" / "python"


def test_a_named_environment_is_used_first(tmp_path):
    assert which(VENV=str(tmp_path / "env"), VIRTUAL_ENV=sys.prefix) == tmp_path / "env" / "bin" / "python"


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_active_environment_with_detectron2_is_used(variable):
    assert which(**{variable: sys.prefix}) == Path(sys.prefix) / "bin" / "python"


def test_an_active_environment_without_detectron2_is_not_used(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "other"], check=True)
    assert which(VIRTUAL_ENV=str(tmp_path / "other")) == ROOT / ".venv" / "bin" / "python"
