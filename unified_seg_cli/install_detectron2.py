"""Install Detectron2 without a compiler and without GitHub, or keep an installed one.

An importable Detectron2 of any version is kept. Otherwise the Python part of the 0.6 source release on PyPI is
downloaded by a pinned hash, fixed for current versions of NumPy, Pillow and setuptools, packed as a pure-Python wheel
named ``detectron2``, and installed. All fixes are in this script: the library runs unchanged on 0.6 and on Detectron2's
main.

    unified-seg setup                               # does this too
    python tools/install_detectron2.py              # keep Detectron2, or install 0.6 without a compiler
    python tools/install_detectron2.py --from-git   # build the official main (needs a compiler and GitHub)

Run it with the interpreter of the target environment, in which PyTorch must be installed. It imports nothing of this
project, which need not be installed.
"""

import argparse
import base64
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

RELEASE = "pb1-detectron2==0.6"  # every Python file equals the official v0.6 tag; the C++ sources are absent
SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"
OFFICIAL = "git+https://github.com/facebookresearch/detectron2"

# The imports of the Python part. Detectron2's own list also has `black`, `future` and `pydot`, for its config printer
# (where black is optional) and its Caffe2 export, which are not used here.
REQUIREMENTS = (
    "Pillow>=7.1",
    "matplotlib",
    "pycocotools>=2.0.2",
    "termcolor>=1.1",
    "yacs>=0.1.8",
    "tabulate",
    "cloudpickle",
    "tqdm>4.29.0",
    "tensorboard",
    "fvcore>=0.1.5,<0.1.6",
    "iopath>=0.1.7",
    "omegaconf>=2.1",
    "hydra-core>=1.1",
)

PROJECTS = {
    "projects/PointRend/point_rend": "detectron2/projects/point_rend",
    "projects/DeepLab/deeplab": "detectron2/projects/deeplab",
    "projects/Panoptic-DeepLab/panoptic_deeplab": "detectron2/projects/panoptic_deeplab",
}

# Replaces the compiled extension: it can be imported, provides Detectron2's report of the environment, and raises an
# error that names the missing operator when one is used.
STAND_IN_FOR_C = '''"""Stands in for the compiled operators, which this installation does not have."""


def get_compiler_version():
    return "none: installed without compiled operators"


def get_cuda_version():
    return "not available"


def has_cuda():
    return False


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(
        f"detectron2._C.{name} is a compiled operator (rotated boxes, deformable convolution) and this "
        "Detectron2 was installed without a compiler; install the official build to use it."
    )
'''


class InstallError(RuntimeError):
    """An error that stops the installation; the message says why and what to do."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from-git", action="store_true", help="build the official main of Detectron2 instead")
    args = parser.parse_args()
    try:
        install_detectron2(from_git=args.from_git)
    except InstallError as error:
        sys.exit(f"install_detectron2: {error}")


def install_detectron2(*, from_git: bool = False) -> None:
    """Install Detectron2 into this environment, or keep the one that it has unless the official main is wanted.

    Raises:
        InstallError: PyTorch is missing, the installed one does not import, or pip failed.
    """
    installed = find_version("detectron2")
    if installed and not from_git:
        print(f"detectron2 {installed} is already installed")
        return
    if not find_version("torch"):
        raise InstallError("PyTorch is missing in this environment: pip install torch torchvision")
    if from_git:
        pip("install", "--no-build-isolation", OFFICIAL)
    else:
        with tempfile.TemporaryDirectory() as folder:
            pip("install", "--quiet", str(build_wheel(download(Path(folder)), Path(folder))))
    print(f"detectron2 {find_version('detectron2')} installed")


def find_version(package: str) -> str:
    """Return the version of an installed package, "" if it is missing.

    Raises:
        InstallError: the package is installed but can't be imported.
    """
    # A new interpreter also finds packages that were installed a moment ago.
    probe = (
        "import importlib.util, sys\n"
        f"if importlib.util.find_spec('{package}') is None: sys.exit(3)\n"
        f"import {package}; print({package}.__version__)"
    )
    # -I: a checkout of Detectron2 in the current folder is not an installation.
    result = subprocess.run([sys.executable, "-I", "-c", probe], capture_output=True, text=True)
    if result.returncode == 3:
        return ""
    if result.returncode != 0:
        raise InstallError(f"{package} is installed in {sys.prefix} but does not import:\n{result.stderr}")
    return result.stdout.strip().splitlines()[-1]


def pip(*arguments: str) -> None:
    result = subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments])
    if result.returncode != 0:
        raise InstallError(f"pip {' '.join(arguments)} failed (exit {result.returncode}), see above")


def download(folder: Path) -> Path:
    """Download the source release to `folder`, check its hash, and unpack it; return the unpacked folder."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{RELEASE} --hash=sha256:{SHA256}\n")
    # setup.py imports torch, so the metadata can't be read in an isolated build environment.
    pip(
        "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--no-build-isolation",
        "--dest", str(folder), "--requirement", str(requirement),
    )  # fmt: skip
    (archive,) = folder.glob("*.tar.gz")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise InstallError(f"{archive.name} does not have the pinned hash")
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:  # Python 3.11.2, that of Debian 12
            tar.extractall(folder)  # noqa: S202 (the hash is that of a harmless archive)
    (source,) = (path for path in folder.iterdir() if path.is_dir())
    return source


def build_wheel(source: Path, folder: Path) -> Path:
    """Pack the Python files of an unpacked release, with the fixes, as a wheel; return its path."""
    files: dict[str, bytes] = {"detectron2/_C.py": STAND_IN_FOR_C.encode()}
    for path in sorted((source / "detectron2").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            files[path.relative_to(source).as_posix()] = path.read_bytes()
    for origin, target in PROJECTS.items():
        for path in sorted((source / origin).rglob("*.py")):
            files[f"{target}/{path.relative_to(source / origin).as_posix()}"] = path.read_bytes()

    for name in [name for name in files if name.endswith(".py")]:
        files[name] = modernize(name, files[name].decode()).encode()

    info = "detectron2-0.6.dist-info"
    metadata = ["Metadata-Version: 2.1", "Name: detectron2", "Version: 0.6", "License: Apache-2.0"]
    metadata += ["Summary: Detectron2 0.6, its Python part alone"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in REQUIREMENTS]
    files[f"{info}/METADATA"] = "\n".join([*metadata, ""]).encode()
    files[f"{info}/LICENSE"] = (source / "LICENSE").read_bytes()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: install_detectron2\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [f"{name},sha256={urlsafe_sha256(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()

    wheel = folder / "detectron2-0.6-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return wheel


def urlsafe_sha256(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def modernize(name: str, text: str) -> str:
    """Apply the fixes to one source file; Detectron2's main has all of them but the last."""
    # NumPy 1.24 removed its aliases of the builtins, but not names such as np.int32 and np.bool_.
    text = re.sub(r"\bnp\.(bool|int|float)\b", r"\1", text)
    edit = EDITS.get(name)
    if edit is None:
        return text
    changed = edit(text)
    if changed == text:
        raise InstallError(f"{name}: the fix changes nothing, so the source is not the pinned release")
    return changed


def replace(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


EDITS: dict[str, Callable[[str], str]] = {
    # Pillow 10 removed the alias.
    "detectron2/data/transforms/transform.py": replace("Image.LINEAR", "Image.BILINEAR"),
    # The fast COCOeval is compiled; the one of pycocotools gives the same numbers.
    "detectron2/evaluation/coco_evaluation.py": replace(
        "from detectron2.evaluation.fast_eval_api import COCOeval_opt", "COCOeval_opt = COCOeval"
    ),
    # setuptools 81 removed pkg_resources.
    "detectron2/model_zoo/model_zoo.py": lambda text: re.sub(
        r"pkg_resources\.resource_filename\(\s*(.+?), (os\.path\.join\(.*?\))\s*\)",
        r"str(importlib.resources.files(\1).joinpath(\2))",
        text.replace("import pkg_resources", "import importlib.resources"),
        flags=re.DOTALL,
    ),
}


if __name__ == "__main__":
    main()
