#!/usr/bin/env python3
"""Make or reuse the Python environment of this project. It needs only Python 3.11 or newer with pip.

The environment is the first of:
  1. the folder in the variable VENV, made if missing;
  2. the active environment (venv or conda), if it has Detectron2;
  3. .venv in the folder of this project, made if missing.
Existing installations of PyTorch and Detectron2 are kept.

    python3 tools/setup_env.py           # set up; takes seconds if nothing has changed since the last time
    python3 tools/setup_env.py --which   # only print the interpreter of the environment
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLI = ROOT / "unified_seg_cli"
INPUTS = [ROOT / "setup.py", CLI / "install_detectron2.py", CLI / "set_up.py", Path(__file__).resolve()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--which", action="store_true", help="only print the interpreter")
    args = parser.parse_args()
    python = find_interpreter()
    if args.which:
        print(python)
        return
    try:
        set_up(python)
    except subprocess.CalledProcessError as error:
        sys.exit(f"setup_env: {' '.join(map(str, error.cmd))} failed, see above")


def find_interpreter() -> Path:
    named = os.environ.get("VENV")
    if named:
        return interpreter_of(Path(named).expanduser().absolute())
    active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    if active and has(interpreter_of(Path(active)), "detectron2"):
        return interpreter_of(Path(active))
    return interpreter_of(ROOT / ".venv")


def interpreter_of(prefix: Path) -> Path:
    return prefix / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def has(python: Path, package: str) -> bool:
    """Return whether the interpreter has the package, ignoring packages in the current folder."""
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{package}') is None)"
    return python.exists() and subprocess.run([python, "-I", "-c", probe]).returncode == 0


def set_up(python: Path) -> None:
    stamp = python.parent.parent / "unified_seg_setup"
    state = f"{ROOT}\n" + hashlib.sha256(b"".join(path.read_bytes() for path in INPUTS)).hexdigest()
    if stamp.exists() and stamp.read_text() == state:
        return
    if sys.version_info < (3, 11):  # noqa: UP036 (an older Python runs this script too)
        sys.exit(f"setup_env: Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    print(f"setting up {python.parent.parent} (once; a few minutes, about 6 GB with torch)", flush=True)
    if not python.exists():
        run(sys.executable, "-m", "venv", python.parent.parent)
    # torchvision for CUDA does not work with torch for the CPU, so both are resolved together.
    if not (has(python, "torch") and has(python, "torchvision")):
        pip(python, "torch", "torchvision")
    if not has(python, "setuptools"):
        pip(python, "setuptools")
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(pins(python, "torch", "torchvision"))
        pip(python, "--no-build-isolation", "--editable", f"{ROOT}[dev]", "--constraint", str(constraints))
    run(python, "-m", "unified_seg_cli", "setup")
    # The tests compare with panopticapi, whose metadata excludes current numpy, with which it works.
    if not has(python, "panopticapi"):
        pip(python, "--no-deps", "panopticapi-lite")
    stamp.write_text(state)
    print(f"the environment is ready; to use it: source {python.parent / 'activate'}")


def pins(python: Path, *packages: str) -> str:
    """Return constraints to the installed versions: a compiled Detectron2 works with one version of torch only."""
    code = "import sys; from importlib.metadata import version\nfor n in sys.argv[1:]: print(f'{n}=={version(n)}')"
    return subprocess.run([python, "-I", "-c", code, *packages], check=True, capture_output=True, text=True).stdout


def pip(python: Path, *arguments: str) -> None:
    print("  pip install", *arguments, flush=True)
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
