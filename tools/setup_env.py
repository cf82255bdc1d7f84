#!/usr/bin/env python3
"""Make or reuse the environment of this project; any Python >= 3.11 with pip can run it, nothing else is needed.

Which environment, in this order:
  1. the folder named by VENV, made if absent;
  2. the active environment (venv or conda), if Detectron2 is in it;
  3. .venv beside this project, made if absent.
A torch and a Detectron2 that are there already are used as they are.

    python3 tools/setup_env.py           # set up; seconds when nothing has changed since the last time
    python3 tools/setup_env.py --which   # only print the environment's interpreter
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
INPUTS = [ROOT / "setup.py", ROOT / "tools" / "install_detectron2.py", Path(__file__).resolve()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--which", action="store_true", help="print the interpreter and stop")
    args = parser.parse_args()
    python = find_interpreter()
    if args.which:
        print(python)
        return
    try:
        set_up(python)
    except subprocess.CalledProcessError as error:
        sys.exit(f"setup: {' '.join(map(str, error.cmd))} failed, see above")


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
    """Whether the interpreter finds the package, not counting what lies in the current folder."""
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{package}') is None)"
    return python.exists() and subprocess.run([python, "-I", "-c", probe]).returncode == 0


def set_up(python: Path) -> None:
    stamp = python.parent.parent / "unified_seg_setup"
    state = f"{ROOT}\n" + hashlib.sha256(b"".join(path.read_bytes() for path in INPUTS)).hexdigest()
    if stamp.exists() and stamp.read_text() == state:
        return
    if sys.version_info < (3, 11):  # noqa: UP036 (this script is what tells an older Python)
        sys.exit(f"setup: Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    print(f"setting up {python.parent.parent} (once; a few minutes, about 6 GB with torch)", flush=True)
    if not python.exists():
        run(sys.executable, "-m", "venv", python.parent.parent)
    # A CUDA torchvision does not load beside a CPU torch, so the two are always resolved together.
    if not (has(python, "torch") and has(python, "torchvision")):
        pip(python, "torch", "torchvision")
    if not has(python, "setuptools"):
        pip(python, "setuptools")
    run(python, ROOT / "tools" / "install_detectron2.py")
    # OpenCV comes in several packages that overwrite each other: another one than ours serves as well.
    extras = "cityscapes,timm,dev" if has(python, "cv2") else "cityscapes,timm,dev,opencv"
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(pins(python, "torch", "torchvision"))
        pip(python, "--no-build-isolation", "--editable", f"{ROOT}[{extras}]", "--constraint", str(constraints))
    if not has(python, "panopticapi"):
        pip(python, "--no-deps", "panopticapi-lite")
    stamp.write_text(state)
    print(f"set up; to type commands of your own: source {python.parent / 'activate'}")


def pins(python: Path, *packages: str) -> str:
    """Constraints that keep packages at the version they have: a compiled Detectron2 fits one torch only."""
    code = "import sys; from importlib.metadata import version\nfor n in sys.argv[1:]: print(f'{n}=={version(n)}')"
    return subprocess.run([python, "-I", "-c", code, *packages], check=True, capture_output=True, text=True).stdout


def pip(python: Path, *arguments: str) -> None:
    print("  pip install", *arguments, flush=True)
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
